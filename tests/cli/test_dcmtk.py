"""The table of DCMTK's options."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.cli import dcmtk


@pytest.mark.parametrize(("tool", "flag"), [("storescp", "-xcr"), ("storescu", "+tls"), ("findscu", "-k")])
def test_options_of_dcmtk(tool, flag):
    assert dcmtk.has_option(tool, flag)


@pytest.mark.parametrize(("tool", "flag"), [("echoscu", "-xcr"), ("storescu", "--nonsense"), ("index", "-v"), ("", "")])
def test_what_dcmtk_does_not_have(tool, flag):
    assert not dcmtk.has_option(tool, flag)


def test_table_is_sorted_and_well_formed():
    lines = (Path(dcmtk.__file__).parent / "dcmtk_options.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert all(line[0] in "-+" and len(line.split()) >= 2 for line in lines)

"""In what files differ."""

from __future__ import annotations

from pathlib import Path

import pydicom.data
import pytest

from dcmkit.dataset.dump import Look
from dcmkit.dataset.dump_diff import differences
from dcmkit.dataset.dump_file import DumpFile

TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"


def compared(first: Path, second: Path, *, meta: bool = False) -> list[tuple[str, str]]:
    with DumpFile(str(first)) as one, DumpFile(str(second)) as other:
        return [(found.sign, found.lines[0][:60]) for found in differences(one, other, Look(), meta=meta)]


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "test-SR.dcm"])
def test_a_file_is_equal_to_itself(name):
    assert compared(TEST_FILES / name, TEST_FILES / name, meta=True) == []


def test_the_encoding_makes_no_difference():
    found = compared(TEST_FILES / "MR_small.dcm", TEST_FILES / "MR_small_bigendian.dcm")
    assert all(line.startswith("(fffc,fffc)") for _, line in found)


def test_other_pixels_and_syntax_are_shown():
    found = compared(TEST_FILES / "MR_small.dcm", TEST_FILES / "MR_small_RLE.dcm", meta=True)
    assert ("+", "(0002,0010) UI =RLELossless") in [(sign, line.split("  ")[0]) for sign, line in found]
    assert [line[:11] for sign, line in found if sign == "+"][-1] == "(7fe0,0010)"


def test_a_change_in_a_sequence_is_shown_with_its_path(tmp_path):
    changed = tmp_path / "changed.dcm"
    changed.write_bytes((TEST_FILES / "CT_small.dcm").read_bytes().replace(b"1234ABCD", b"1234ABCE"))
    found = compared(TEST_FILES / "CT_small.dcm", changed)
    assert [sign for sign, _ in found] == ["-", "+"]
    assert found[1][1].startswith("(0010,1002)[1].(0010,0020) LO [1234ABCE]")

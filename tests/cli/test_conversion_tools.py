"""DCMTK's converters in its own words."""

from __future__ import annotations

import pytest

from dcmkit.cli import conversion_tools
from dcmkit.cli.conversion_tools import TOOLS, translated
from dcmkit.cli.dcmtk import has_option
from dcmkit.errors import UsageError

END = ["--overwrite", "--output", "out", "--", "in"]
DCMTK = [tool for tool in TOOLS if tool != "gdcmconv"]
KEPT = ["--lengths", "defined", "--group-lengths", "recalculate"]


@pytest.mark.parametrize(
    ("tool", "args", "expected"),
    [
        ("dcmconv", [], ["--to", "same", *KEPT]),
        ("dcmconv", ["+ti", "-e"], ["--to", "same", *KEPT, "--to", "implicit", "--lengths", "undefined"]),
        ("dcmconv", ["+td", "+cl", "9"], ["--to", "same", *KEPT, "--to", "deflated", "--deflate-level", "9"]),
        ("dcmcjpeg", ["+eb", "+q", "70"], ["--to", "jpeg-lossless", *KEPT, "--to", "jpeg", "--quality", "70"]),
        ("dcmcjpeg", ["+fs", "64"], ["--to", "jpeg-lossless", *KEPT, "--fragment-size", "64k"]),
        ("dcmcjpeg", ["+un", "+cr"], ["--to", "jpeg-lossless", *KEPT, "--uid", "never", "--subsampling", "rgb"]),
        ("dcmdjpeg", ["+cn"], ["--to", "explicit", "--rgb", *KEPT, "--no-rgb"]),
        ("dcmdjpeg", ["+cn", "+cl"], ["--to", "explicit", *KEPT]),
        ("dcmcjpls", ["+en", "+md", "3"], ["--to", "jpegls", *KEPT, "--to", "jpegls-near", "--near", "3"]),
        ("dcmdjpls", ["+tb"], ["--to", "explicit", *KEPT, "--to", "big-endian"]),
        ("dcmcrle", ["-v"], ["--to", "rle", *KEPT, "-v"]),
        ("dcmdrle", ["--log-level", "debug"], ["--to", "explicit", *KEPT, "--log-level", "debug"]),
        ("dcmcjpeg", ["--quality=70"], ["--to", "jpeg-lossless", *KEPT, "--quality", "70"]),
        ("gdcmconv", ["--raw"], ["--to", "same", "--to", "explicit"]),
    ],
)
def test_options(tool, args, expected):
    assert translated(tool, [*args, "in", "out"]) == [*expected, *END]
    assert translated(tool, ["in", "out", *args]) == [*expected, *END]


def test_gdcmconv_takes_named_operands():
    given = translated("gdcmconv", ["-J", "-i", "in", "-o", "out"])
    assert given == ["--to", "same", "--to", "jpeg-lossless", "in", "--output", "out", "--overwrite", "--"]


@pytest.mark.parametrize("operands", [[], ["in"], ["in", "out", "more"]])
def test_two_operands_it_must_be(operands):
    with pytest.raises(UsageError, match="two operands"):
        translated("dcmcrle", operands)


@pytest.mark.parametrize(
    ("tool", "flag"), [("dcmcjpeg", "+Wi"), ("dcmconv", "+U8"), ("dcmdjpeg", "+pl"), ("dcmcjpeg", "+cs")]
)
def test_what_is_not_here_is_refused(tool, flag):
    with pytest.raises(UsageError, match="does not have it yet"):
        translated(tool, [flag, "in", "out"])


def test_what_nobody_has_is_refused():
    with pytest.raises(UsageError, match="no such option: \\+zz"):
        translated("dcmcrle", ["+zz", "in", "out"])
    with pytest.raises(UsageError, match="needs a value"):
        translated("dcmcjpeg", ["in", "out", "+q"])


def test_help_needs_no_operands():
    assert "--help" in translated("dcmcrle", ["--help"])


def test_after_two_dashes_all_are_operands():
    assert translated("dcmcrle", ["--", "-in", "-out"])[-3:] == ["-out", "--", "-in"]


@pytest.mark.parametrize("tool", DCMTK)
def test_the_tables_know_only_what_the_tools_have(tool):
    for flag in conversion_tools._table(conversion_tools._TABLES[tool]):
        assert any(has_option(one, flag) for one in DCMTK), flag

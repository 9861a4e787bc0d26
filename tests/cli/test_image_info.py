"""What an image is said to be, beside what DCMTK says where it is installed."""

from __future__ import annotations

import shutil
import subprocess

import pydicom
import pytest
from pydicom.data import get_testdata_file

from dcmkit.cli.image_info import described
from dcmkit.pixels.image_file import ImageFile

NAMES = ("CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "examples_palette.dcm", "rtdose.dcm", "SC_rgb.dcm")


def told(path):
    with ImageFile(path) as image:
        return described(str(path), image, range(1))


def test_windows_and_luts_are_listed(tmp_path):
    image = pydicom.dcmread(get_testdata_file("examples_overlay.dcm"))
    image.WindowCenterWidthExplanation = ["WIDE", "\x1b[2J"]
    image.SamplesPerPixel, image.PixelAspectRatio = 1, [3, 2]
    image.save_as(tmp_path / "image.dcm")
    lines = told(tmp_path / "image.dcm")
    assert "VOI windows in file : 2" in lines
    assert "                      - 450, 790 WIDE" in lines
    assert "pixel aspect ratio  : 3:2" in lines
    assert not any("\x1b" in line for line in lines)


def test_colours_have_no_extremes():
    assert not any("maximum" in line for line in told(get_testdata_file("examples_palette.dcm")))


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dcmj2pnm") is None, reason="DCMTK's dcmj2pnm is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_dcmtk(name):
    path = get_testdata_file(name)
    done = subprocess.run(["dcmj2pnm", "-v", "-im", "-o", path], capture_output=True, text=True)
    theirs = dict(
        line[5:].split(":", 1) for line in done.stderr.splitlines() if line.startswith("I:   ") and ":" in line[5:]
    )
    ours = dict(line.split(":", 1) for line in told(path) if ":" in line)
    theirs = {name.strip(): value.strip() for name, value in theirs.items() if ":" not in name}
    ours = {name.strip(): value.strip() for name, value in ours.items()}
    for name in ("columns x rows", "color model", "number of frames", "VOI windows in file",
                 "overlays in file", "maximum pixel value", "minimum pixel value"):  # fmt: skip
        if name in theirs:
            assert ours.get(name) == theirs[name], name

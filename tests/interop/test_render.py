"""Pictures compared with those of DCMTK's dcmj2pnm, pixel by pixel.

One grey level of difference is allowed: DCMTK cuts fractions off where PS3.3 says nothing, and dcmkit rounds; without a
window DCMTK divides the range of values into 256 parts, and dcmkit lets its ends be black and white.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.raster import Region
from dcmkit.pixels.render import Rendering, render

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("dcmj2pnm") is None, reason="DCMTK's dcmj2pnm is not installed"),
]

GREY = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "examples_overlay.dcm",
    "JPGExtended.dcm", "rtdose.dcm", "image_dfl.dcm",
)  # fmt: skip
COLOR = (
    "SC_rgb_small_odd.dcm", "SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cr.dcm",
    "examples_palette.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm",
    "ExplVR_BigEnd.dcm",
)  # fmt: skip


def theirs(path, *options):
    done = subprocess.run(["dcmj2pnm", "-q", "+op", *options, path], capture_output=True)
    if done.returncode or not done.stdout:
        pytest.skip(f"this dcmj2pnm cannot read it: {done.stderr.decode(errors='replace').strip()[:80]}")
    magic, size, _, pixels = done.stdout.split(b"\n", 3)
    columns, rows = map(int, size.split())
    shape = (rows, columns, 3) if magic == b"P6" else (rows, columns)
    return np.frombuffer(pixels, np.uint8, int(np.prod(shape))).reshape(shape).astype(int)


def ours(path, **how):
    with ImageFile(path) as image:
        return render(image, 0, Rendering(padding=False, **how)).astype(int)


WAYS = {
    "none": (("-W",), {"voi": "none"}),
    "minmax": (("+Wm",), {"voi": "minmax"}),
    "linear": (("+Ww", "100", "700"), {"window": (100, 700), "function": "LINEAR"}),
    "sigmoid": (("+Ww", "100", "700", "+Wfs"), {"window": (100, 700), "function": "SIGMOID"}),
    "inverted": (("+Wm", "+P"), {"voi": "minmax", "invert": True}),
    "shape": (("+Wm", "+Piv"), {"voi": "minmax", "shape": "INVERSE"}),
    "left": (("+Wm", "+Rl"), {"voi": "minmax", "rotation": 270}),
    "flipped": (("+Wm", "+Lh"), {"voi": "minmax", "flip_horizontally": True}),
    "inner": (("+Wn",), {"voi": "minmax-inner"}),
    "of a part": (("+Wr", "2", "3", "5", "6"), {"voi": "minmax", "window_of": Region(2, 3, 5, 6)}),
    "clipped": (("+Wm", "+C", "1", "2", "6", "5"), {"voi": "minmax", "region": Region(1, 2, 6, 5)}),
    "doubled": (("+Wm", "+Sxf", "2", "-i"), {"voi": "minmax", "factors": (0, 2), "method": "nearest"}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", GREY)
def test_grey(name, way):
    path = get_testdata_file(name)
    options, how = WAYS[way]
    assert abs(theirs(path, "-O", *options) - ours(path, **how)).max() <= 1


@pytest.mark.parametrize("name", GREY)
def test_histograms(name):
    """DCMTK takes the value beside the one at the limit here and there."""
    path = get_testdata_file(name)
    expected = theirs(path, "-O", "+Wh", "5")
    assert abs(expected - ours(path, voi="percentiles", percentiles=(5, 95))).max() <= 5


@pytest.mark.parametrize("name", COLOR)
def test_colour(name):
    path = get_testdata_file(name)
    expected = theirs(path, "-O")
    # DCMTK's chrominance is in integers; where it is upsampled, the decoders' filters differ as well
    assert abs(expected - ours(path)).max() <= 2


@pytest.mark.parametrize("number", ["1", "2"])
def test_overlays(number):
    path = get_testdata_file("examples_overlay.dcm")
    expected = theirs(path, "+Wm", "+O", number, "+Omr")
    assert abs(expected - ours(path, voi="minmax", overlays=(int(number) - 1,), overlay_mode="replace")).max() <= 1


def test_windows_of_the_object():
    path = get_testdata_file("examples_overlay.dcm")
    assert abs(theirs(path, "-O", "+Wi", "1") - ours(path, voi="preset")).max() <= 1

"""Real files, one of each kind, through every transfer syntax that can hold them; all pairs of syntaxes on colour bars.

`benchmarks/transcode_matrix.py` does the same with every file at hand.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcmkit.dataset.elements import Element
from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels import plan, syntaxes
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import EncodeOptions
from dcmkit.pixels.transcode import TranscodeOptions, transcode_file
from dcmkit.pixels.writer import ImageWriter

from .peers import program_path
from .samples import sources
from .transcoding import TARGETS, as_rgb, decoded, judge

pytestmark = pytest.mark.interop
FILES = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "693_J2KI.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm",
    "SC_rgb_small_odd_jpeg.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_gdcm2k_uncompressed.dcm",
    "SC_rgb_rle_16bit_2frame.dcm", "ExplVR_BigEnd.dcm", "emri_small_jpeg_ls_lossless.dcm", "examples_palette.dcm",
    "liver_expb_1frame.dcm", "rtdose_rle.dcm", "J2K_pixelrep_mismatch.dcm", "image_dfl.dcm",
    "MR-SIEMENS-DICOM-WithOverlays.dcm", "color-pl.dcm", "mlut_18.dcm", "examples_ybr_color.dcm",
)  # fmt: skip
"""Signed, of 12 to 32 bits, of one bit; colour of every kind, palettes; many frames; every family."""
AT_LEAST = 7
"""Syntaxes: those for 32 bits, where JPEG in any form has no room."""


@pytest.fixture(scope="module")
def found() -> dict[str, Path]:
    return {path.name: path for path in sources() if path.name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_through_every_syntax_that_can_hold_it(found: dict[str, Path], tmp_path: Path, name: str) -> None:
    if name not in found:
        pytest.skip("not among the files of this pydicom")
    verdicts = [judge(found[name], target, tmp_path) for target in TARGETS]
    assert [one for one in verdicts if one.state == "wrong"] == []
    assert sum(one.state == "right" for one in verdicts) >= AT_LEAST
    if all(map(program_path, ("dcmdjpeg", "dcmdjpls", "dcmdrle", "gdcmconv"))):
        assert sum(bool(one.peer) for one in verdicts) >= AT_LEAST - 1


# --- colour bars -------------------------------------------------------------------------------------------------

BARS = ((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0))
HIGH = EncodeOptions(quality=100, near=1, subsampling="444", psnr=60.0)
CHANNEL_ERROR = 2
"""Of two lossy codings in a row as well."""
_NOT_OF_PIXELS = frozenset({syntaxes.JPEG_XL_RECOMPRESSION})
PAIRED = tuple(uid for uid in TARGETS if uid not in _NOT_OF_PIXELS)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight bars of 16 pixels, 32 rows, RGB."""
    described = PixelDescription(32, 128, 3, "RGB", 8, 8, 7)
    path = tmp_path_factory.mktemp("bars") / "bars.dcm"
    numbers = {0x00280002: 3, 0x00280006: 0, 0x00280010: 32, 0x00280011: 128, 0x00280100: 8, 0x00280101: 8,
               0x00280102: 7, 0x00280103: 0}  # fmt: skip
    uid = "1.2.826.0.1.3680043.9.9999.4"
    elements = {tag: Element("US", str(number)) for tag, number in numbers.items()} | {
        0x00080008: Element("CS", "ORIGINAL\\PRIMARY"), 0x00080016: Element("UI", "1.2.840.10008.5.1.4.1.1.7"),
        0x00080018: Element("UI", uid), 0x00280004: Element("CS", described.photometric_interpretation),
    }  # fmt: skip
    with ImageWriter(path, elements, syntaxes.EXPLICIT, sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
                     sop_instance_uid=uid) as writer:  # fmt: skip
        writer.write_frame(bars_array().tobytes())
        writer.commit()
    return path


def bars_array() -> Any:
    """The samples of the bars."""
    return np.tile(np.repeat(np.array(BARS, "u1"), 16, 0), (32, 1, 1))


@pytest.mark.parametrize("first", PAIRED, ids=[uid.removeprefix("1.2.840.10008.1.2") for uid in PAIRED])
def test_colour_bars_through_every_pair_of_syntaxes(bars: Path, tmp_path: Path, first: str) -> None:
    between, output = tmp_path / "between.dcm", tmp_path / "output.dcm"
    transcode_file(bars, between, first, TranscodeOptions(HIGH))
    wrong = []
    for second in PAIRED:
        transcode_file(between, output, second, TranscodeOptions(HIGH, relabel=False, force=first == second))
        (_, samples, color, bits) = next(decoded(output))
        error = int(np.abs(as_rgb(samples, color, bits).astype(int) - bars_array()).max())
        if error > (CHANNEL_ERROR if {first, second} & plan.LOSSY else 0):
            wrong.append(f"{second}: channel error {error}")
    assert wrong == []


def test_what_cannot_hold_them_says_so(bars: Path, tmp_path: Path) -> None:
    for video in ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.92"):
        with contextlib.suppress(UnsupportedSyntaxError):
            transcode_file(bars, tmp_path / "output.dcm", video)
            pytest.fail(video)
    assert list(tmp_path.iterdir()) == []

"""Compressed frames that come as media types."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, Element
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels.codestream import CodestreamInfo
from dcmkit.web.media_types import MediaType
from dcmkit.web.store_parts import TransferSyntaxNotSupportedError
from dcmkit.web.store_pixels import Frame, _by_header, described, transfer_syntax_of
from tests.web.test_stow_assembly import JPEG

PREFIX = "1.2.840.10008.1.2.4."


@pytest.mark.parametrize(
    ("info", "syntax"),
    [
        (CodestreamInfo("JPEG", process=0), "50"),
        (CodestreamInfo("JPEG", process=1), "51"),
        (CodestreamInfo("JPEG", process=2), "55"),
        (CodestreamInfo("JPEG", process=3, predictor=1), "70"),
        (CodestreamInfo("JPEG", process=3, predictor=6), "57"),
        (CodestreamInfo("JPEG-LS"), "80"),
        (CodestreamInfo("JPEG-LS", near=2), "81"),
        (CodestreamInfo("JPEG 2000", lossless=True), "90"),
        (CodestreamInfo("JPEG 2000", lossless=False), "91"),
        (CodestreamInfo("HTJ2K", lossless=True), "201"),
        (CodestreamInfo("HTJ2K", lossless=True, progression=2), "202"),
        (CodestreamInfo("HTJ2K", lossless=False), "203"),
        (CodestreamInfo("JPEG XL", lossless=True), "110"),
        (CodestreamInfo("JPEG XL", recompressed=True), "111"),
        (CodestreamInfo("JPEG XL", lossless=False), "112"),
    ],
)
def test_transfer_syntaxes_by_header(info: CodestreamInfo, syntax: str):
    assert _by_header(info) == PREFIX + syntax


def test_what_a_media_type_says_counts():
    frame = transfer_syntax_of(MediaType("image/jpeg", {"transfer-syntax": PREFIX + "51"}), memoryview(JPEG))
    assert frame.transfer_syntax == PREFIX + "51"
    assert frame.info is not None
    assert (frame.info.rows, frame.info.columns) == (2, 3)
    video = transfer_syntax_of(MediaType("video/mp4", {}), memoryview(b"x"))
    assert video == Frame(PREFIX + "102")


@pytest.mark.parametrize("media_type", ["image/gif", "text/plain", "application/octet-stream"])
def test_media_types_that_are_none_of_pixel_data(media_type: str):
    with pytest.raises(TransferSyntaxNotSupportedError):
        transfer_syntax_of(MediaType(media_type, {}), memoryview(JPEG))


@pytest.mark.parametrize(
    "media_type", ["image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/jxl", "image/dicom-rle"]
)
@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"nonsense" * 20, bytes(100)])
def test_what_is_no_frame(media_type: str, data: bytes):
    with pytest.raises(InvalidDataSetError):
        transfer_syntax_of(MediaType(media_type, {}), memoryview(data))


@pytest.mark.parametrize(
    ("info", "photometric"),
    [
        (CodestreamInfo("JPEG", samples=1, process=0), "MONOCHROME2"),
        (CodestreamInfo("JPEG", samples=3, process=0, subsampled=True), "YBR_FULL_422"),
        (CodestreamInfo("JPEG", samples=3, process=0), "YBR_FULL"),
        (CodestreamInfo("JPEG", samples=3, process=0, color="RGB"), "RGB"),
        (CodestreamInfo("JPEG-LS", samples=3), "RGB"),
        (CodestreamInfo("JPEG 2000", samples=3, color="RCT"), "YBR_RCT"),
        (CodestreamInfo("JPEG 2000", samples=3, color="ICT"), "YBR_ICT"),
        (CodestreamInfo("JPEG XL", samples=3, color="XYB"), "XYB"),
    ],
)
def test_photometric_interpretations(info: CodestreamInfo, photometric: str):
    assert described({}, Frame(PREFIX + "90", info), 1)[0x00280004].value == photometric


def test_only_what_is_missing_is_filled_in():
    info = CodestreamInfo("JPEG 2000", 4, 5, 1, 12, signed=True, lossless=True)
    given: DataSet = {0x00280010: Element("US", "9"), 0x00280011: Element("US", "")}
    found = described(given, Frame(PREFIX + "90", info), 3)
    assert {tag: one.value for tag, one in found.items()} == {
        0x00280002: "1", 0x00280004: "MONOCHROME2", 0x00280008: "3", 0x00280010: "9", 0x00280011: "5",
        0x00280100: "16", 0x00280101: "12", 0x00280102: "11", 0x00280103: "1",
    }  # fmt: skip
    assert described(given, Frame(PREFIX + "102"), 1) == given

"""Headers of codestreams are read from their bytes alone, whatever these are."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import DcmkitError, InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codecs import CODECS, EncodeOptions, encode_frame
from dcmkit.pixels.codestream import CodestreamInfo, check, inspect, rle_segments
from dcmkit.pixels.description import PixelDescription

from .images import IMAGES, can_encode

WITH_HEADER = sorted(
    syntaxes.JPEG_FAMILY - syntaxes.RETIRED_JPEG | syntaxes.JPEG_LS_FAMILY | syntaxes.JPEG_2000_FAMILY
    | syntaxes.HTJ2K_FAMILY | syntaxes.JPEG_XL_FAMILY | {syntaxes.RLE}
)  # fmt: skip
FORMATS = {
    **dict.fromkeys(syntaxes.JPEG_FAMILY, "JPEG"), **dict.fromkeys(syntaxes.JPEG_LS_FAMILY, "JPEG-LS"),
    **dict.fromkeys(syntaxes.JPEG_2000_FAMILY, "JPEG 2000"), **dict.fromkeys(syntaxes.HTJ2K_FAMILY, "HTJ2K"),
    **dict.fromkeys(syntaxes.JPEG_XL_FAMILY, "JPEG XL"), syntaxes.RLE: "RLE",
}  # fmt: skip


def encoded(uid: str, name: str = "rgb", **options: int) -> bytes:
    array, description = IMAGES[name]
    return encode_frame(array, uid, description, EncodeOptions(**options)).data  # type: ignore[arg-type]


WITH_HEADER = [uid for uid in WITH_HEADER if can_encode(uid)]
STREAMS = {uid: encoded(uid) for uid in WITH_HEADER}


@pytest.mark.parametrize("uid", WITH_HEADER)
def test_what_a_header_says(uid: str) -> None:
    info = inspect(STREAMS[uid], uid)
    assert info.format == FORMATS[uid]
    assert info.complete
    if uid != syntaxes.RLE:
        assert (info.rows, info.columns, info.samples, info.bits) == (41, 37, 3, 8)
    assert info.lossless in ((True, None) if uid in syntaxes.LOSSLESS else (False,))
    assert not check(info, IMAGES["rgb"][1])


def test_what_only_some_headers_say() -> None:
    assert inspect(encoded(syntaxes.JPEG_LOSSLESS, predictor=5), syntaxes.JPEG_LOSSLESS).predictor == 5
    assert inspect(STREAMS[syntaxes.JPEG_LOSSLESS_SV1], syntaxes.JPEG_LOSSLESS_SV1).predictor == 1
    assert inspect(encoded(syntaxes.JPEG_LS_NEAR, near=3), syntaxes.JPEG_LS_NEAR).near == 3
    assert inspect(STREAMS[syntaxes.JPEG_BASELINE], syntaxes.JPEG_BASELINE).color == "YBR"
    assert inspect(STREAMS[syntaxes.JPEG_BASELINE], syntaxes.JPEG_BASELINE).subsampled
    assert inspect(STREAMS[syntaxes.JPEG_2000_LOSSLESS], syntaxes.JPEG_2000_LOSSLESS).color == "RCT"
    if syntaxes.HTJ2K in STREAMS:
        assert inspect(STREAMS[syntaxes.HTJ2K], syntaxes.HTJ2K).color == "ICT"
        assert inspect(STREAMS[syntaxes.HTJ2K_RPCL], syntaxes.HTJ2K_RPCL).progression == 2
    assert inspect(STREAMS[syntaxes.JPEG_XL], syntaxes.JPEG_XL).color == "XYB"
    assert inspect(STREAMS[syntaxes.JPEG_XL_RECOMPRESSION], syntaxes.JPEG_XL_RECOMPRESSION).recompressed
    assert inspect(STREAMS[syntaxes.RLE], syntaxes.RLE).segments == 3
    assert inspect(encoded(syntaxes.JPEG_2000_LOSSLESS, "12 signed bits"), syntaxes.JPEG_2000_LOSSLESS).signed is True


@pytest.mark.parametrize("uid", WITH_HEADER)
def test_every_cut_is_an_error_or_incomplete(uid: str) -> None:
    stream = STREAMS[uid]
    for end in (*range(0, min(len(stream), 700), 3), len(stream) * 2 // 3):
        try:
            info = inspect(stream[:end], uid)
        except InvalidDataSetError:
            continue
        # JPEG XL without boxes and the last segment of RLE have no end of their own: their decoders tell
        assert not info.complete or uid in (syntaxes.JPEG_XL_LOSSLESS, syntaxes.JPEG_XL, syntaxes.RLE)


@pytest.mark.parametrize("uid", WITH_HEADER)
def test_another_format_is_none(uid: str) -> None:
    for other, stream in STREAMS.items():
        if FORMATS[other] != FORMATS[uid] and {"JPEG 2000", "HTJ2K"} != {FORMATS[uid], FORMATS[other]}:
            with pytest.raises(InvalidDataSetError):
                inspect(stream, uid)


def test_native_frames_have_no_codestream() -> None:
    with pytest.raises(UnsupportedSyntaxError):
        inspect(b"\0" * 100, syntaxes.EXPLICIT)
    assert syntaxes.EXPLICIT in CODECS


# --- held against the data set ------------------------------------------------------------------------------------

RIGHT = PixelDescription(41, 37, 3, "RGB", 8, 8, 7)
INFO = CodestreamInfo("JPEG 2000", 41, 37, 3, 8, False)


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (INFO._replace(rows=40), "40x37 rows and columns"), (INFO._replace(columns=65535), "41x65535"),
        (INFO._replace(samples=1), "1 samples per pixel"), (INFO._replace(bits=12), "12 bits"),
        (INFO._replace(complete=False), "its end is missing"),
    ],
)  # fmt: skip
def test_another_image_than_the_data_set_describes(info: CodestreamInfo, says: str) -> None:
    with pytest.raises(InvalidDataSetError, match=says) as raised:
        check(info, RIGHT)
    assert raised.value.offending_element == 0x7FE00010


def test_small_disagreements_are_warnings() -> None:
    assert check(INFO, RIGHT) == []
    assert "7 bits" in check(INFO._replace(bits=7), RIGHT)[0]
    assert "the codestream signed" in check(INFO._replace(signed=True), RIGHT)[0]
    assert check(CodestreamInfo("RLE", segments=3), RIGHT) == []
    assert check(INFO._replace(bits=8), RIGHT._replace(bits_stored=1, bits_allocated=1)) == []


# --- JPEG ---------------------------------------------------------------------------------------------------------


def jpeg(*segments: bytes, end: bytes = b"\xff\xd9") -> bytes:
    return b"\xff\xd8" + b"".join(segments) + end


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def frame(marker: int = 0xC0, rows: int = 8, columns: int = 8, ids: bytes = b"\1\2\3", bits: int = 8) -> bytes:
    components = b"".join(bytes((one, 0x11, 0)) for one in ids)
    return segment(marker, struct.pack(">BHHB", bits, rows, columns, len(ids)) + components)


SCAN = segment(0xDA, b"\3\1\0\2\0\3\0\0\x3f\0") + bytes(24)
JFIF, ADOBE_RGB = segment(0xE0, b"JFIF\0\1\1" + bytes(7)), segment(0xEE, b"Adobe\0\x64" + bytes(5))
ADOBE_YBR = segment(0xEE, b"Adobe\0\x64" + bytes(4) + b"\1")


@pytest.mark.parametrize(
    ("segments", "color"),
    [
        ((JFIF, frame()), "YBR"), ((ADOBE_RGB, frame()), "RGB"), ((ADOBE_YBR, frame()), "YBR"),
        ((JFIF, ADOBE_RGB, frame()), "RGB"), ((frame(ids=b"RGB"),), "RGB"), ((frame(),), ""), ((frame(ids=b"\1"),), ""),
    ],
)  # fmt: skip
def test_the_color_of_a_jpeg(segments: tuple[bytes, ...], color: str) -> None:
    assert inspect(jpeg(*segments, SCAN), syntaxes.JPEG_BASELINE).color == color


def test_fill_bytes_and_padding() -> None:
    info = inspect(jpeg(b"\xff\xff\xff", frame(), SCAN) + bytes(1000), syntaxes.JPEG_BASELINE)
    assert info.complete
    assert not inspect(jpeg(frame(), SCAN, end=b""), syntaxes.JPEG_BASELINE).complete


@pytest.mark.parametrize(
    "stream",
    [
        b"", b"\xff", b"\xff\xd8", jpeg(), jpeg(b"\0", frame()), jpeg(SCAN), jpeg(frame(), frame(), SCAN),
        jpeg(frame(rows=0), SCAN), jpeg(frame(ids=b""), SCAN), jpeg(segment(0xC0, b"\x08\0\x08\0\x08\3\1\x11"), SCAN),
        jpeg(frame().replace(b"\x11", b"\x01"), SCAN), jpeg(frame()) * 2, jpeg(frame(0xF7), SCAN),
        jpeg(frame(0xC3), SCAN), b"\xff\xd8\xff\xe0\0\1", jpeg(frame(), b"\xff\xda\0\3\xff"),
    ],
)  # fmt: skip
def test_what_is_no_jpeg(stream: bytes) -> None:
    with pytest.raises(InvalidDataSetError):
        inspect(stream, syntaxes.JPEG_BASELINE)


def test_an_image_that_cannot_be_in_so_few_bytes_is_incomplete() -> None:
    assert not inspect(jpeg(frame(rows=60000, columns=60000), SCAN), syntaxes.JPEG_BASELINE).complete
    lossless = segment(0xDA, b"\3\1\0\2\0\3\0\1\0\0") + bytes(8 * 8 * 3 // 8)
    assert inspect(jpeg(frame(0xC3), lossless), syntaxes.JPEG_LOSSLESS).complete
    assert not inspect(jpeg(frame(0xC3, rows=9), lossless), syntaxes.JPEG_LOSSLESS).complete


# --- RLE ----------------------------------------------------------------------------------------------------------


def test_segments_of_rle() -> None:
    header = struct.pack("<16I", 2, 64, 68, *[0] * 13)
    assert rle_segments(header + b"abcdefgh") == [b"abcd", b"efgh"]


@pytest.mark.parametrize(
    "header",
    [(0,), (16, 64), (2, 64), (2, 64, 64), (2, 66, 68), (2, 68, 64), (1, 0), (0xFFFFFFFF, 64)],
)
def test_what_is_no_rle(header: tuple[int, ...]) -> None:
    stream = struct.pack("<16I", *header, *[0] * (16 - len(header))) + bytes(100)
    with pytest.raises(InvalidDataSetError):
        inspect(stream, syntaxes.RLE)


def test_a_segment_beyond_the_end_is_missing() -> None:
    assert not inspect(struct.pack("<16I", 2, 64, 4000, *[0] * 13) + bytes(100), syntaxes.RLE).complete


# --- any bytes ----------------------------------------------------------------------------------------------------


@given(st.sampled_from(WITH_HEADER), st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_header_or_the_documented_error(uid: str, data: bytes, begun: bool) -> None:
    data = STREAMS[uid][:20] + data if begun else data
    try:
        info = inspect(data, uid)
    except DcmkitError:
        return
    assert info.format


@given(st.sampled_from(WITH_HEADER), st.data())
def test_any_damage_is_a_header_or_the_documented_error(uid: str, data: st.DataObject) -> None:
    stream = bytearray(STREAMS[uid])
    for _ in range(data.draw(st.integers(1, 6))):
        stream[data.draw(st.integers(0, min(len(stream), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        info = inspect(bytes(stream), uid)
        check(info, RIGHT)
    except DcmkitError:
        return
    assert info == inspect(memoryview(stream), uid)

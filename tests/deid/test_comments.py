"""What codestreams say beside their pixels, found where it lies; and the pixels are the same without."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.deid import comments
from dcmkit.pixels import codecs, jpegxl, syntaxes
from dcmkit.pixels.frames import EncodeOptions
from tests.pixels.images import IMAGES, can_encode

SECRET = b"Doe^Jane 1970"
WITH_ROOM = [
    syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED, syntaxes.JPEG_LOSSLESS, syntaxes.JPEG_LOSSLESS_SV1,
    syntaxes.JPEG_LS, syntaxes.JPEG_LS_NEAR, syntaxes.JPEG_2000_LOSSLESS, syntaxes.JPEG_2000, syntaxes.HTJ2K_LOSSLESS,
    syntaxes.HTJ2K, syntaxes.JPEG_XL_LOSSLESS, syntaxes.JPEG_XL,
]  # fmt: skip
MARKED = syntaxes.JPEG_FAMILY | syntaxes.JPEG_LS_FAMILY


def encoded(syntax: str, name: str = "8 bits", **options: int) -> bytes:
    if not can_encode(syntax):
        pytest.skip("this installation does not encode it")
    array, description = IMAGES[name]
    return codecs.encode_frame(array, syntax, description, EncodeOptions(**options)).data


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", 0xFF00 | marker, len(content) + 2) + content


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def removed(data: bytes, syntax: str) -> list[bytes]:
    return [data[start:end] for start, end in comments.blanks(memoryview(data), syntax)]


@pytest.mark.parametrize("syntax", WITH_ROOM)
def test_what_encoders_write_stays(syntax):
    data = encoded(syntax)
    assert comments.blanks(data, syntax) == []
    assert comments.without(data, syntax) is data


@pytest.mark.parametrize("syntax", [one for one in WITH_ROOM if one in MARKED])
@pytest.mark.parametrize("name", ["8 bits", "rgb"])
@pytest.mark.parametrize("marker", [0xFE, 0xE1, 0xE0, 0xE8, 0xEE, 0xEF, 0xF5])
def test_segments_of_jpeg(syntax, name, marker):
    data = encoded(syntax, name)
    added = segment(marker, SECRET)
    for place in (2, data.rindex(b"\xff\xd9")):
        found = data[:place] + added + data[place:]
        assert removed(found, syntax) == [SECRET]
        clean = comments.without(found, syntax)
        assert clean == data[:place] + segment(marker, bytes(len(SECRET))) + data[place:]
        assert comments.blanks(clean, syntax) == []
        if marker != 0xF5 and (place == 2 or syntax in syntaxes.JPEG_FAMILY):  # CharLS wants EOI after the scan
            assert np.array_equal(*(codecs.decode_frame(one, syntax, IMAGES[name][1]).array for one in (data, clean)))


@pytest.mark.parametrize("syntax", [syntaxes.JPEG_BASELINE, syntaxes.JPEG_LS])
@pytest.mark.parametrize(
    "content", [b"Doe^Jane, a story. " * 3000, bytes(range(255, -1, -1)) * 255, b"\xff\x90ab" * 2000]
)
def test_long_segments_behind_the_scan(syntax, content):
    data = encoded(syntax)
    place = data.rindex(b"\xff\xd9")
    for padding in (b"", b"\0"):
        assert removed(data[:place] + segment(0xFE, content) + data[place:] + padding, syntax) == [content]


def test_segments_between_scans():
    first = b"\xff\xd8" + segment(0xF7, bytes.fromhex("08 0004 0004 03 011100 021100 031100"))
    scan = segment(0xDA, b"\1\1\0\0\0\0") + b"\x12\xff\x34\x56"
    data = first + scan + segment(0xFE, SECRET) + scan + segment(0xEA, SECRET[1:]) + scan + b"\xff\xd9"
    assert removed(data, syntaxes.JPEG_LS) == [SECRET, SECRET[1:]]


def test_what_jpeg_decoders_go_by_stays():
    jfif = b"JFIF\0\1\2\0\0\1\0\1\0\0"
    kept = [
        segment(0xE0, jfif), segment(0xEE, b"Adobe\0d\0\0\0\0\1"), segment(0xE8, b"mrfx\1"),
        segment(0xE8, b"SPIFF\0" + bytes(range(24))), segment(0xE8, b"\0\0\0\1\xff\xd8"), segment(0xDB, SECRET),
    ]  # fmt: skip
    assert removed(b"\xff\xd8" + b"".join(kept) + b"\xff\xd9", syntaxes.JPEG_BASELINE) == []
    thumbnail = segment(0xE0, jfif[:-2] + b"\1\2secret") + segment(0xE8, b"\0\0\0\x20" + SECRET)
    data = b"\xff\xd8" + thumbnail + b"\xff\xff" + segment(0xE2, b"ICC_PROFILE\0") + b"\xff\xd9"
    assert removed(data, syntaxes.JPEG_BASELINE) == [b"secret", SECRET, b"ICC_PROFILE\0"]


@pytest.mark.parametrize("syntax", [syntaxes.JPEG_LS, syntaxes.JPEG_2000_LOSSLESS])
def test_what_comes_behind_the_image(syntax):
    data = encoded(syntax)
    assert removed(data + SECRET, syntax) == [SECRET]
    assert removed(data + bytes(40), syntax) == []
    assert removed(data + bytes(1) + data + SECRET, syntax) == [SECRET], "another image is not touched"


@pytest.mark.parametrize("syntax", [syntaxes.JPEG_2000_LOSSLESS, syntaxes.HTJ2K_LOSSLESS])
def test_comments_of_jpeg_2000(syntax):
    data = encoded(syntax)
    tile = data.index(b"\xff\x90\x00\x0a")
    added = segment(0x64, b"\0\1" + SECRET)
    main = data[:tile] + added + data[tile:]
    length = (
        int.from_bytes(data[tile + 6 : tile + 10], "big") + len(added) if data[tile + 6 : tile + 10] != bytes(4) else 0
    )
    head = data[tile : tile + 6] + length.to_bytes(4, "big") + data[tile + 10 : tile + 12]
    in_tile = data[:tile] + head + added + data[tile + 12 :]
    for one in (main, in_tile, data[:tile] + segment(0x4B, SECRET) + data[tile:]):
        assert removed(one, syntax) == [SECRET]
    clean = comments.without(in_tile, syntax)
    assert np.array_equal(codecs.decode_frame(clean, syntax, IMAGES["8 bits"][1]).array, IMAGES["8 bits"][0])


def test_comments_are_not_looked_for_in_packets():
    """FF64 occurs there, too."""
    data = encoded(syntaxes.JPEG_2000_LOSSLESS)
    start = data.index(b"\xff\x93") + 2
    changed = data[:start] + b"\xff\x64\0\x08abcdef" + data[start + 10 :]
    assert removed(changed, syntaxes.JPEG_2000_LOSSLESS) == []


def test_many_tiles():
    array, description = IMAGES["12 bits"]
    large = np.tile(array, (8, 8))
    description = description._replace(rows=large.shape[0], columns=large.shape[1])
    data = codecs.encode_frame(large, syntaxes.JPEG_2000_LOSSLESS, description, EncodeOptions(tile=128)).data
    parts = [at for at in range(len(data)) if data[at : at + 4] == b"\xff\x90\x00\x0a"]
    assert len(parts) > 4
    last = parts[-1]
    added = segment(0x64, b"\0\0" + SECRET)
    length = int.from_bytes(data[last + 6 : last + 10], "big")
    length = length + len(added) if length else 0
    changed = data[: last + 6] + length.to_bytes(4, "big") + data[last + 10 : last + 12] + added + data[last + 12 :]
    assert removed(changed, syntaxes.JPEG_2000_LOSSLESS) == [SECRET]


def test_a_last_tile_part_without_a_length():
    data = bytearray(encoded(syntaxes.JPEG_2000_LOSSLESS))
    tile = data.index(b"\xff\x90\x00\x0a")
    data[tile + 6 : tile + 10] = bytes(4)
    assert removed(bytes(data), syntaxes.JPEG_2000_LOSSLESS) == []
    assert removed(bytes(data) + SECRET, syntaxes.JPEG_2000_LOSSLESS) == [SECRET]
    file = box(b"jP  ", b"\r\n\x87\n") + box(b"jp2c", bytes(data)) + box(b"xml ", SECRET)
    assert removed(file, syntaxes.JPEG_2000_LOSSLESS) == [SECRET]


def test_a_codestream_longer_than_its_box():
    data = encoded(syntaxes.JPEG_2000_LOSSLESS)
    file = box(b"jP  ", b"\r\n\x87\n") + (len(data) - 50).to_bytes(4, "big") + b"jp2c" + data
    assert removed(file, syntaxes.JPEG_2000_LOSSLESS) == []
    assert removed(file + SECRET, syntaxes.JPEG_2000_LOSSLESS) == [SECRET]


def test_boxes_of_a_jp2_file():
    data = encoded(syntaxes.JPEG_2000_LOSSLESS)
    tile = data.index(b"\xff\x90\x00\x0a")
    commented = data[:tile] + segment(0x64, b"\0\1" + SECRET) + data[tile:]
    header = box(b"jp2h", box(b"ihdr", bytes(13) + b"\1") + box(b"lbl ", SECRET))
    file = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 ") + header + box(b"xml ", SECRET)
    file += box(b"uuid", bytes(16) + SECRET) + box(b"jp2c", commented) + SECRET[:7]
    assert removed(file, syntaxes.JPEG_2000_LOSSLESS) == [SECRET, SECRET, bytes(16) + SECRET, SECRET, SECRET[:7]]
    open_ended = box(b"jP  ", b"\r\n\x87\n") + bytes(4) + b"jp2c" + commented
    assert removed(open_ended, syntaxes.JPEG_2000_LOSSLESS) == [SECRET]
    long = box(b"jP  ", b"\r\n\x87\n") + b"\0\0\0\1xml " + (16 + len(SECRET)).to_bytes(8, "big") + SECRET
    assert removed(long, syntaxes.JPEG_2000_LOSSLESS) == [SECRET]


def test_boxes_of_jpeg_xl():
    jpeg = encoded(syntaxes.JPEG_BASELINE)
    data = jpegxl.recompress(jpeg)
    assert comments.is_sealed(data, syntaxes.JPEG_XL_RECOMPRESSION)
    assert comments.blanks(data, syntaxes.JPEG_XL_RECOMPRESSION) == []
    added = data + box(b"Exif", bytes(4) + SECRET) + box(b"xml ", SECRET) + box(b"jumb", SECRET) + b"\0"
    clean = comments.without(added, syntaxes.JPEG_XL_RECOMPRESSION)
    assert SECRET not in clean
    assert len(clean) == len(added)
    assert jpegxl.restore_jpeg(clean) == jpeg
    plain = encoded(syntaxes.JPEG_XL_LOSSLESS)
    assert not comments.is_sealed(plain, syntaxes.JPEG_XL_LOSSLESS)
    assert not comments.is_sealed(jpeg, syntaxes.JPEG_BASELINE)


@pytest.mark.parametrize("size", [0, 5, 8, 50])
@pytest.mark.parametrize("syntax", [syntaxes.JPEG_LS, syntaxes.JPEG_2000_LOSSLESS])
def test_frames_in_several_fragments(syntax, size):
    data = encoded(syntax)
    place = 2 if syntax == syntaxes.JPEG_LS else data.index(b"\xff\x90\x00\x0a")
    secret = SECRET if syntax == syntaxes.JPEG_LS else b"\0\1" + SECRET
    frame = data[:place] + segment(0xFE if syntax == syntaxes.JPEG_LS else 0x64, secret) + data[place:] + SECRET
    pieces = [bytes(8)]
    for one in (frame, data, frame):
        pieces += [one[at : at + (size or len(one))] for at in range(0, len(one), size or len(one))]
    value, ranges = b"", []
    for piece in pieces:
        value += b"item"
        ranges.append((len(value), len(value) + len(piece)))
        value += piece
    changed = bytearray(value)
    last = 0
    for start, end in comments.in_fragments(memoryview(value), ranges, syntax):
        assert last <= start < end
        changed[start:end] = bytes(end - start)
        last = end
    joined = b"".join(changed[start:end] for start, end in ranges[1:])
    assert joined == frame.replace(SECRET, bytes(len(SECRET))) + data + frame.replace(SECRET, bytes(len(SECRET)))
    assert list(comments.in_fragments(memoryview(value), ranges, syntaxes.RLE)) == []


def test_frames_without_room_for_comments():
    for syntax in (syntaxes.EXPLICIT, syntaxes.RLE, syntaxes.DEFLATED_FRAME, "1.2.840.10008.1.2.4.102", "1.2.3"):
        assert comments.blanks(b"\xff\xd8" + segment(0xFE, SECRET) + b"\xff\xd9", syntax) == []


STARTS = st.sampled_from([
    b"", b"\xff\xd8", b"\xff\xd8\xff\xfe", b"\xff\x4f\xff\x51", b"\xff\x4f\xff\x51\0\4ab\xff\x90",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\xd8\xff\xda\0\2",
    b"\xff\xd8" + segment(0xC0, bytes(6)),
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(STARTS, st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd9", b"\xff\xd9\0"]), st.sampled_from(WITH_ROOM))
def test_garbage_gives_ranges_in_order(start, body, end, syntax):
    data = start + body + end
    at = 0
    for begin, stop in comments.blanks(data, syntax):
        assert at <= begin < stop <= len(data)
        at = stop
    assert len(comments.without(data, syntax)) == len(data)
    comments.is_sealed(data, syntax)


@pytest.mark.parametrize(
    "syntax", [syntaxes.JPEG_BASELINE, syntaxes.JPEG_2000_LOSSLESS, syntaxes.JPEG_XL_RECOMPRESSION]
)
def test_any_cut_is_taken(syntax):
    data = encoded(syntax, "rgb")
    for length in range(0, len(data), 7):
        comments.blanks(data[:length], syntax)

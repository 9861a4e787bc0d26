"""Every syntax that is encoded here: exact where it is lossless, close where it is not, refused where it cannot be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcmkit import uids
from dcmkit.errors import InvalidDataSetError, OutputError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels import codecs, syntaxes
from dcmkit.pixels.codecs import EncodeOptions, available, decode_frame, encode_frame
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import Encoded

from .images import IMAGES, after, can_encode, error

LOSSLESS = sorted(uid for uid in syntaxes.LOSSLESS if can_encode(uid))
LOSSY = sorted(uid for uid in codecs.CODECS if uid not in syntaxes.LOSSLESS and can_encode(uid))
CT = "ct of 16 signed bits"

ROOM = {  # bits allocated that a syntax has room for, and its bits stored at most
    **dict.fromkeys(syntaxes.NATIVE | {syntaxes.ENCAPSULATED_UNCOMPRESSED, syntaxes.DEFLATED_FRAME}, (1, 32, 32)),
    syntaxes.RLE: (1, 32, 32),
    **dict.fromkeys(syntaxes.JPEG_LOSSLESS_FAMILY | {syntaxes.JPEG_LS, syntaxes.JPEG_XL_LOSSLESS}, (8, 16, 16)),
    syntaxes.JPEG_2000_LOSSLESS: (1, 32, 24),
    **dict.fromkeys((syntaxes.HTJ2K_LOSSLESS, syntaxes.HTJ2K_RPCL), (1, 16, 16)),
}


@pytest.mark.parametrize("uid", LOSSLESS)
@pytest.mark.parametrize("name", IMAGES)
def test_lossless_is_exact_to_the_last_unused_bit(name: str, uid: str) -> None:
    array, description = IMAGES[name]
    least, most, bits = ROOM[uid]
    if not least <= description.bits_allocated <= most or description.bits_stored > bits:
        if uid in syntaxes.HTJ2K_FAMILY and description.bits_stored <= bits:
            pytest.skip("fits by its bits")
        with pytest.raises(UnsupportedSyntaxError):
            encode_frame(array, uid, description)
        return
    encoded = encode_frame(array, uid, description, EncodeOptions(verify=False))
    assert not encoded.lossy
    assert not encoded.method
    assert encoded.bits_stored == description.bits_stored
    for library in codecs.CODECS[uid].decoders:
        decoded = decode_frame(encoded.data, uid, after(description, encoded), library=library.library)
        assert decoded.array.dtype == array.dtype
        assert np.array_equal(decoded.array, array)
        assert decoded.photometric_interpretation == description.photometric_interpretation
        assert decoded.signed == description.signed
        assert not decoded.warnings


@pytest.mark.parametrize("uid", LOSSLESS)
def test_a_byte_behind_the_frame_does_no_harm(uid: str) -> None:
    array, description = IMAGES["rgb"]
    encoded = encode_frame(array, uid, description)
    assert error(decode_frame(encoded.data + b"\0", uid, after(description, encoded)), array) == 0


@pytest.mark.parametrize("uid", LOSSLESS)
def test_views_of_a_file_are_decoded_as_bytes_are(uid: str) -> None:
    array, description = IMAGES["12 bits"]
    encoded = encode_frame(array, uid, description)
    view = memoryview(b"--" + encoded.data)[2:].toreadonly()
    assert error(decode_frame(view, uid, after(description, encoded)), array) == 0


SMOOTH = {"grey": IMAGES["12 bits"], "ct": IMAGES[CT], "rgb": IMAGES["rgb"]}


@pytest.mark.parametrize("uid", LOSSY)
@pytest.mark.parametrize("name", SMOOTH)
def test_lossy_is_close_and_says_how(name: str, uid: str) -> None:
    array, description = SMOOTH[name]
    try:
        encoded = encode_frame(array, uid, description)
    except UnsupportedSyntaxError:
        assert description.bits_allocated == 16 or description.signed
        return
    assert encoded.lossy
    assert encoded.method == syntaxes.METHODS[uid]
    assert encoded.bits_stored >= description.bits_stored
    decoded = decode_frame(encoded.data, uid, after(description, encoded))
    if decoded.photometric_interpretation == "YBR_FULL":
        return  # color is compared in the tests of JPEG
    extent = int(array.max()) - int(array.min())
    assert error(decoded, array) <= (2 if uid == syntaxes.JPEG_LS_NEAR else extent // 8)
    assert decoded.array.dtype == array.dtype
    assert not decoded.warnings


@pytest.mark.parametrize("uid", LOSSY)
@pytest.mark.parametrize("name", ["palette", "one bit", "overlay in unused bits", "samples in the high bits"])
def test_lossy_coding_of_what_is_no_quantity_is_refused(name: str, uid: str) -> None:
    array, description = IMAGES[name]
    with pytest.raises(UnsupportedSyntaxError):
        encode_frame(array, uid, description)


@pytest.mark.parametrize("uid", LOSSY)
def test_better_quality_takes_more_bytes(uid: str) -> None:
    array, description = IMAGES["8 bits"]
    if uid == syntaxes.JPEG_LS_NEAR:
        sizes = [len(encode_frame(array, uid, description, EncodeOptions(near=near)).data) for near in (20, 5, 1)]
    else:
        sizes = [len(encode_frame(array, uid, description, EncodeOptions(quality=q)).data) for q in (20, 70, 100)]
    assert sizes == sorted(set(sizes))


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", sorted(syntaxes.PASSED_THROUGH))
def test_video_is_passed_through_and_never_decoded(uid: str) -> None:
    array, description = IMAGES["rgb"]
    with pytest.raises(UnsupportedSyntaxError, match="passed through"):
        decode_frame(b"\0\0\1", uid, description)
    with pytest.raises(UnsupportedSyntaxError, match="passed through"):
        encode_frame(array, uid, description)


def test_an_unknown_syntax_and_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    array, description = IMAGES["12 bits"]
    with pytest.raises(UnsupportedSyntaxError, match="not known"):
        decode_frame(b"", "1.2.3", description)
    with pytest.raises(UnsupportedSyntaxError, match="encodes no"):
        encode_frame(array, syntaxes.JPEG_LS, description, library="pylibjpeg-rle")
    monkeypatch.setattr(codecs, "_is_installed", lambda library: False)
    with pytest.raises(UnsupportedSyntaxError, match="nothing here encodes"):
        encode_frame(array, syntaxes.JPEG_LS, description)


@pytest.mark.parametrize("uid", sorted(syntaxes.RETIRED_JPEG))
def test_progressive_jpeg_is_not_encoded(uid: str) -> None:
    array, description = IMAGES["8 bits"]
    with pytest.raises(UnsupportedSyntaxError):
        encode_frame(array, uid, description)


@pytest.mark.parametrize(
    "options",
    [
        EncodeOptions(quality=0), EncodeOptions(quality=101), EncodeOptions(near=-1), EncodeOptions(predictor=8),
        EncodeOptions(effort=1), EncodeOptions(subsampling="411"), EncodeOptions(layers=0),
    ],
)  # fmt: skip
def test_options_that_cannot_be(options: EncodeOptions) -> None:
    array, description = IMAGES["12 bits"]
    with pytest.raises(UsageError):
        encode_frame(array, syntaxes.RLE, description, options)


def test_an_array_of_another_shape_or_type() -> None:
    array, description = IMAGES["12 bits"]
    with pytest.raises(UsageError, match="shape"):
        encode_frame(array[:-1], syntaxes.RLE, description)
    with pytest.raises(UsageError, match="int16"):
        encode_frame(array.astype(np.int16), syntaxes.RLE, description)


@pytest.mark.parametrize(
    "description",
    [
        PixelDescription(0, 5), PixelDescription(5, 5, 0), PixelDescription(5, 5, bits_allocated=8, bits_stored=12),
        PixelDescription(5, 5, bits_stored=0),
    ],
)  # fmt: skip
def test_a_description_of_no_image(description: PixelDescription) -> None:
    with pytest.raises(InvalidDataSetError):
        decode_frame(b"\0" * 100, syntaxes.EXPLICIT, description)


@pytest.mark.parametrize(
    "description", [PixelDescription(65535, 65535, bits_allocated=32), PixelDescription(5, 5, bits_allocated=12)]
)
def test_a_description_of_too_much(description: PixelDescription) -> None:
    with pytest.raises(UnsupportedSyntaxError):
        decode_frame(b"\0" * 100, syntaxes.RLE, description._replace(bits_stored=8))


# --- verification -------------------------------------------------------------------------------------------------


def test_what_does_not_decode_to_the_same_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    array, description = IMAGES["12 bits"]
    other = encode_frame(array ^ 1, syntaxes.JPEG_LS, description)

    def wrong(*_: object) -> Encoded:
        return other

    codec = codecs.Codec(codecs.CODECS[syntaxes.JPEG_LS].decoders, (codecs.Encoder("imagecodecs", wrong),))
    monkeypatch.setitem(codecs.CODECS, syntaxes.JPEG_LS, codec)
    with pytest.raises(OutputError, match="does not decode to the same"):
        encode_frame(array, syntaxes.JPEG_LS, description)
    assert encode_frame(array, syntaxes.JPEG_LS, description, EncodeOptions(verify=False)) is other


def test_out_of_memory_is_one_of_our_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError

    codec = codecs.Codec((codecs.Decoder("imagecodecs", out_of_memory),))  # type: ignore[arg-type]
    monkeypatch.setitem(codecs.CODECS, syntaxes.JPEG_LS, codec)
    array, description = IMAGES["12 bits"]
    encoded = encode_frame(array, syntaxes.EXPLICIT, description)
    monkeypatch.setattr(codecs.codestream, "inspect", lambda *_: codecs._NOTHING)
    with pytest.raises(OutputError, match="out of memory"):
        decode_frame(encoded.data, syntaxes.JPEG_LS, description)


# --- what there is ------------------------------------------------------------------------------------------------


def test_what_is_available() -> None:
    capabilities = {one.transfer_syntax_uid: one for one in available()}
    assert set(capabilities) == set(codecs.CODECS) | syntaxes.PASSED_THROUGH
    assert capabilities[syntaxes.JPEG_2000].decoders == ("imagecodecs", "pylibjpeg-openjpeg")
    assert capabilities[syntaxes.JPEG_LOSSLESS_SV1].encoders == ("dcmkit", "imagecodecs")
    for uid in syntaxes.PASSED_THROUGH:
        assert capabilities[uid] == (uid, (), ())
    assert all(uids.name_of(uid) != uid for uid in capabilities)


@pytest.mark.parametrize("uid", sorted(codecs.CODECS))
def test_threads_get_the_same(uid: str) -> None:
    array, description = IMAGES["8 bits"]
    if not can_encode(uid):
        return
    options = EncodeOptions(ratio=4.0) if uid == syntaxes.JPEG_2000 else EncodeOptions()
    alone = encode_frame(array, uid, description, options)
    wanted = decode_frame(alone.data, uid, after(description, alone)).array

    def once(_: int) -> bool:
        encoded = encode_frame(array, uid, description, options)
        decoded = decode_frame(encoded.data, uid, after(description, encoded))
        return encoded == alone and np.array_equal(decoded.array, wanted)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(once, range(16)))

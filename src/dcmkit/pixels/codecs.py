"""One table: transfer syntax to what decodes and encodes it here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from dcmkit import uids
from dcmkit.errors import OutputError, UnsupportedSyntaxError
from dcmkit.pixels import codestream, htj2k, jpeg, jpeg2000, jpegls, jpegxl, native, syntaxes
from dcmkit.pixels.codestream import Bytes, CodestreamInfo
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import (
    Array,
    Decoded,
    Encoded,
    EncodeOptions,
    check_description,
    checked_array,
)

__all__ = ["Capability", "Decoded", "EncodeOptions", "Encoded", "available", "decode_frame", "encode_frame"]

Decode = Callable[[Bytes, str, PixelDescription, CodestreamInfo], Decoded]
Encode = Callable[["Array", str, PixelDescription, EncodeOptions], Encoded]


class Decoder(NamedTuple):
    """A library and how to decode with it."""

    library: str
    decode: Decode


class Encoder(NamedTuple):
    """A library and how to encode with it; and whether this version of it does."""

    library: str
    encode: Encode
    works: Callable[[], bool] = lambda: True

    @property
    def is_there(self) -> bool:
        """Whether it is installed, in a version that does it."""
        return _is_installed(self.library) and self.works()


class Codec(NamedTuple):
    """What there is for a syntax, the best first."""

    decoders: tuple[Decoder, ...]
    encoders: tuple[Encoder, ...] = ()


class Capability(NamedTuple):
    """What this installation does with a transfer syntax; empty where frames are only passed through."""

    transfer_syntax_uid: str
    decoders: tuple[str, ...]
    encoders: tuple[str, ...]


_OURS, _IMAGECODECS, _OPENJPEG, _RLE = "dcmkit", "imagecodecs", "pylibjpeg-openjpeg", "pylibjpeg-rle"
_MODULES = {_IMAGECODECS: "imagecodecs", _OPENJPEG: "openjpeg", _RLE: "rle"}

_NATIVE = Codec((Decoder(_OURS, native.decode_native),), (Encoder(_OURS, native.encode_native),))
_JPEG_DECODERS = (Decoder(_IMAGECODECS, jpeg.decode),)
_JPEG_LOSSY = Codec(_JPEG_DECODERS, (Encoder(_IMAGECODECS, jpeg.encode_lossy),))
_JPEG_LOSSLESS = Codec(_JPEG_DECODERS, (Encoder(_IMAGECODECS, jpeg.encode_lossless),))
_JPEG_SV1 = Codec(_JPEG_DECODERS, (Encoder(_OURS, jpeg.encode_first_order), *_JPEG_LOSSLESS.encoders))
_JPEG_LS = Codec((Decoder(_IMAGECODECS, jpegls.decode),), (Encoder(_IMAGECODECS, jpegls.encode),))
_JPEG_2000 = Codec(
    (Decoder(_IMAGECODECS, jpeg2000.decode), Decoder(_OPENJPEG, jpeg2000.decode_plugin)),
    (Encoder(_IMAGECODECS, jpeg2000.encode), Encoder(_OPENJPEG, jpeg2000.encode_plugin)),
)
_HTJ2K = Codec(
    (Decoder(_IMAGECODECS, htj2k.decode), Decoder(_OPENJPEG, jpeg2000.decode_plugin)),
    (Encoder(_IMAGECODECS, htj2k.encode, lambda: htj2k.has_openjph()),),
)
_JPEG_XL = Codec((Decoder(_IMAGECODECS, jpegxl.decode),), (Encoder(_IMAGECODECS, jpegxl.encode),))

CODECS: dict[str, Codec] = {
    **dict.fromkeys((*sorted(syntaxes.NATIVE), syntaxes.ENCAPSULATED_UNCOMPRESSED), _NATIVE),
    syntaxes.DEFLATED_FRAME: Codec(
        (Decoder(_OURS, native.decode_deflated),), (Encoder(_OURS, native.encode_deflated),)
    ),
    syntaxes.RLE: Codec(
        (Decoder(_IMAGECODECS, native.decode_rle), Decoder(_RLE, native.decode_rle_plugin)),
        (Encoder(_IMAGECODECS, native.encode_rle),),
    ),
    syntaxes.JPEG_BASELINE: _JPEG_LOSSY,
    syntaxes.JPEG_EXTENDED: _JPEG_LOSSY,
    **dict.fromkeys(sorted(syntaxes.RETIRED_JPEG), Codec(_JPEG_DECODERS)),
    syntaxes.JPEG_LOSSLESS: _JPEG_LOSSLESS,
    syntaxes.JPEG_LOSSLESS_SV1: _JPEG_SV1,
    syntaxes.JPEG_LS: _JPEG_LS,
    syntaxes.JPEG_LS_NEAR: _JPEG_LS,
    syntaxes.JPEG_2000_LOSSLESS: _JPEG_2000,
    syntaxes.JPEG_2000: _JPEG_2000,
    **dict.fromkeys((syntaxes.JPEG_XL_LOSSLESS, syntaxes.JPEG_XL_RECOMPRESSION, syntaxes.JPEG_XL), _JPEG_XL),
    **dict.fromkeys((syntaxes.HTJ2K_LOSSLESS, syntaxes.HTJ2K_RPCL, syntaxes.HTJ2K), _HTJ2K),
}

_WITHOUT_CODESTREAM = syntaxes.NATIVE | {syntaxes.ENCAPSULATED_UNCOMPRESSED, syntaxes.DEFLATED_FRAME}
_NOTHING = CodestreamInfo("")


@cache
def _is_installed(library: str) -> bool:
    return library == _OURS or importlib.util.find_spec(_MODULES[library]) is not None


def _codec(transfer_syntax_uid: str) -> Codec:
    codec = CODECS.get(transfer_syntax_uid)
    if codec is not None:
        return codec
    name = uids.name_of(transfer_syntax_uid)
    if transfer_syntax_uid in syntaxes.PASSED_THROUGH:
        raise UnsupportedSyntaxError(f"{name}: frames are passed through as they are, never decoded or encoded here",
                                     hint="keep the transfer syntax")  # fmt: skip
    raise UnsupportedSyntaxError(f"transfer syntax {name} is not known here")


def decode_frame(data: Bytes, transfer_syntax_uid: str, description: PixelDescription, *, library: str = "") -> Decoded:
    """The samples of one frame, native or a whole codestream.

    Unused bits are kept where the frame is native; codecs give them sign extended. Bits, sign and color are what
    the codestream says, with a warning where the data set disagrees.

    Args:
        library: only this one of those that `available` names.

    Raises:
        InvalidDataSetError: broken, truncated, or another image than the data set describes.
        UnsupportedSyntaxError: nothing here decodes it.
    """
    codec = _codec(transfer_syntax_uid)
    check_description(description)
    info, warnings = _NOTHING, []
    if transfer_syntax_uid not in _WITHOUT_CODESTREAM:
        info = codestream.inspect(data, transfer_syntax_uid)
        warnings = codestream.check(info, description)
    for decoder in codec.decoders:
        if library in ("", decoder.library) and _is_installed(decoder.library):
            try:
                decoded = decoder.decode(data, transfer_syntax_uid, description, info)
            except MemoryError:
                raise OutputError("out of memory while a frame was decoded") from None
            return decoded._replace(warnings=(*warnings, *decoded.warnings)) if warnings else decoded
    raise _not_installed(transfer_syntax_uid, "decodes", library)


def encode_frame(
    array: Array,
    transfer_syntax_uid: str,
    description: PixelDescription,
    options: EncodeOptions | None = None,
    *,
    library: str = "",
) -> Encoded:
    """One frame encoded; `description` is of `array` as `decode_frame` gives it: interleaved, its color undone.

    Raises:
        UnsupportedSyntaxError: the syntax has no room for such samples, or nothing here encodes it.
        UsageError: an option, or the array, cannot be.
        OutputError: what was encoded without loss does not decode to the same samples.
    """
    options = (options or EncodeOptions()).checked()
    codec = _codec(transfer_syntax_uid)
    check_description(description)
    array = checked_array(array, description)
    for encoder in codec.encoders:
        if library in ("", encoder.library) and encoder.is_there:
            encoded = encoder.encode(array, transfer_syntax_uid, description, options)
            if options.verify and not encoded.lossy and codec is not _NATIVE:
                _verify(array, encoded, transfer_syntax_uid, description)
            return encoded
    raise _not_installed(transfer_syntax_uid, "encodes", library)


def _verify(array: Array, encoded: Encoded, transfer_syntax_uid: str, description: PixelDescription) -> None:
    import numpy as np

    written = description._replace(photometric_interpretation=encoded.photometric_interpretation)
    decoded = decode_frame(encoded.data, transfer_syntax_uid, written)
    if not np.array_equal(decoded.array, array):
        raise OutputError(
            f"{uids.name_of(transfer_syntax_uid)}: what was encoded does not decode to the same samples",
            hint="a defect of the codec; please report it, and choose another transfer syntax",
        )


def _not_installed(transfer_syntax_uid: str, does: str, library: str) -> UnsupportedSyntaxError:
    return UnsupportedSyntaxError(f"{library or 'nothing here'} {does} no {uids.name_of(transfer_syntax_uid)}"
                                  if library else f"nothing here {does} {uids.name_of(transfer_syntax_uid)}",
                                  hint="dcmkit transcode --list shows what this installation can do")  # fmt: skip


def available() -> list[Capability]:
    """What this installation decodes and encodes, and with what; then what it passes through."""
    capabilities = [
        Capability(
            uid,
            tuple(one.library for one in codec.decoders if _is_installed(one.library)),
            tuple(one.library for one in codec.encoders if one.is_there),
        )
        for uid, codec in CODECS.items()
    ]
    return capabilities + [Capability(uid, (), ()) for uid in sorted(syntaxes.PASSED_THROUGH, key=_by_components)]


def _by_components(uid: str) -> list[int]:
    return [int(component) for component in uid.split(".")]

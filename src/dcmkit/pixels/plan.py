"""How an image gets from one transfer syntax into another (PS3.5 8.2, A.4): which frames need decoding, which do not.

Nothing is read or decoded here. What only a codestream can tell (its predictor, whether it is lossless) is left to
whoever carries the plan out: `Steps.condition` says what has to hold of every frame.
"""

from __future__ import annotations

from typing import NamedTuple

from dcmkit.errors import UnsupportedSyntaxError, UsageError
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription
from dcmkit.pixels.syntaxes import (
    BIG_ENDIAN,
    DEFLATED,
    DEFLATED_FRAME,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT,
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_RPCL,
    IMPLICIT,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    JPEG_XL,
    JPEG_XL_LOSSLESS,
    JPEG_XL_RECOMPRESSION,
    LOSSLESS,
    NATIVE,
    RETIRED_JPEG,
    RLE,
)
from dcmkit.uids import TRANSFER_SYNTAXES, is_encapsulated, name_of, resolve

ENCODED = (LOSSLESS - NATIVE) | {
    JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000, HTJ2K, JPEG_XL, JPEG_XL_RECOMPRESSION,
}  # fmt: skip
"""Fragments, and known here. All others (video, JPIP, Part 2, private ones) are passed on as they are or not at all."""
LOSSY = (ENCODED | RETIRED_JPEG) - LOSSLESS
"""What these syntaxes hold may have lost something; encoding into them does lose it."""

SHORT_NAMES = {
    "implicit": IMPLICIT, "explicit": EXPLICIT, "uncompressed": EXPLICIT, "raw": EXPLICIT, "native": EXPLICIT,
    "big-endian": BIG_ENDIAN, "deflated": DEFLATED, "encapsulated": ENCAPSULATED_UNCOMPRESSED,
    "deflated-frames": DEFLATED_FRAME, "rle": RLE,
    "jpeg": JPEG_BASELINE, "jpeg-baseline": JPEG_BASELINE, "jpeg-extended": JPEG_EXTENDED,
    "jpeg-lossless": JPEG_LOSSLESS_SV1, "jpeg-lossless-sv1": JPEG_LOSSLESS_SV1, "jpeg-lossless-14": JPEG_LOSSLESS,
    "jpegls": JPEG_LS, "jpeg-ls": JPEG_LS, "jpegls-lossless": JPEG_LS, "jpegls-near": JPEG_LS_NEAR,
    "j2k": JPEG_2000_LOSSLESS, "j2k-lossless": JPEG_2000_LOSSLESS, "jpeg2000": JPEG_2000_LOSSLESS,
    "j2k-lossy": JPEG_2000, "htj2k": HTJ2K_LOSSLESS, "htj2k-lossless": HTJ2K_LOSSLESS, "htj2k-rpcl": HTJ2K_RPCL,
    "htj2k-lossy": HTJ2K, "jxl": JPEG_XL_LOSSLESS, "jxl-lossless": JPEG_XL_LOSSLESS,
    "jxl-jpeg": JPEG_XL_RECOMPRESSION, "jxl-lossy": JPEG_XL,
}  # fmt: skip
"""What `--to` takes beside UIDs and keywords."""

COPY, RELABEL, RECOMPRESS, DECODE, ENCODE, RECODE = "copy", "relabel", "recompress", "decode", "encode", "recode"
SV1_PREDICTOR, BASELINE_PROCESS, IS_LOSSLESS = "first-order prediction", "the baseline process", "lossless"


class Steps(NamedTuple):
    """What is done with the frames.

    Attributes:
        action: COPY: frames stay as they are and native; RELABEL: codestreams stay as they are; RECOMPRESS: JPEG into
            JPEG XL or back, without loss and without decoding; DECODE, ENCODE, RECODE (both).
        lossy: pixels are not what they were: a new SOP Instance, and the attributes that say so.
        condition: what has to hold of every frame for RELABEL or RECOMPRESS; "" is nothing.
        otherwise: the action where it does not hold.
    """

    source: str
    target: str
    action: str
    lossy: bool = False
    condition: str = ""
    otherwise: str = ""

    def fallback(self) -> Steps:
        """The plan where the condition does not hold."""
        lossy = self.target in LOSSY and self.otherwise in (ENCODE, RECODE)
        return self._replace(action=self.otherwise, lossy=lossy, condition="", otherwise="")


_RELABELS: dict[tuple[str, str], str] = {
    (JPEG_LOSSLESS_SV1, JPEG_LOSSLESS): "",
    (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1): SV1_PREDICTOR,
    (JPEG_BASELINE, JPEG_EXTENDED): "",
    (JPEG_EXTENDED, JPEG_BASELINE): BASELINE_PROCESS,
    (JPEG_LS, JPEG_LS_NEAR): "",
    (JPEG_LS_NEAR, JPEG_LS): IS_LOSSLESS,
    (JPEG_2000_LOSSLESS, JPEG_2000): "",
    (JPEG_2000, JPEG_2000_LOSSLESS): IS_LOSSLESS,
    (HTJ2K_LOSSLESS, HTJ2K): "",
    (HTJ2K_RPCL, HTJ2K): "",
    (HTJ2K_RPCL, HTJ2K_LOSSLESS): "",
    (HTJ2K, HTJ2K_LOSSLESS): IS_LOSSLESS,
    (JPEG_XL_LOSSLESS, JPEG_XL): "",
    (JPEG_XL_RECOMPRESSION, JPEG_XL): "",
}
"""The same codestreams are legal in both (PS3.5 8.2.1 to 8.2.18)."""

_RECOMPRESSIONS = {
    (JPEG_BASELINE, JPEG_XL_RECOMPRESSION),
    (JPEG_EXTENDED, JPEG_XL_RECOMPRESSION),
    (JPEG_XL_RECOMPRESSION, JPEG_BASELINE),
}


def named(text: str) -> str:
    """The UID of a transfer syntax given as UID, keyword, name or short name.

    Raises:
        UsageError: there is none of that name.
    """
    word = text.strip().lower().replace("_", "-")
    if word in SHORT_NAMES:
        return SHORT_NAMES[word]
    try:
        uid = resolve(text)
    except UsageError as error:
        hint = f"a UID, a keyword such as RLELossless, or one of {', '.join(SHORT_NAMES)}"
        raise UsageError(f"{text!r} is no transfer syntax", hint=hint) from error
    if uid not in TRANSFER_SYNTAXES:
        raise UsageError(f"{name_of(uid)} is no transfer syntax", hint="dcmkit transcode --list shows those there are")
    return uid


def plan(
    description: PixelDescription | None, source: str, target: str, *, relabel: bool = True, force: bool = False
) -> Steps:
    """What is to be done. A data set without pixel data is never said to be compressed.

    Args:
        description: of the image; None where there are no pixel data.
        source, target: transfer syntax UIDs.
        relabel: keep codestreams where both syntaxes allow them.
        force: encode again even into the same syntax (another quality).

    Raises:
        UnsupportedSyntaxError: it cannot be done here, or the target cannot hold such an image.
    """
    if description is None or (source == target and not force):
        return _without_pixels(description, source, target)
    if source in NATIVE and target in NATIVE:
        return Steps(source, target, COPY)
    _require_known(source, ENCODED | NATIVE | RETIRED_JPEG, "decoded")
    _require_known(target, ENCODED | NATIVE, "encoded")
    steps = _compressed(source, target, relabel and not (source == target and force))
    if ENCODE in (steps.action, steps.otherwise) or RECODE in (steps.action, steps.otherwise):
        reason = refusal(description, target)
        if reason and steps.action in (ENCODE, RECODE):
            raise UnsupportedSyntaxError(f"{name_of(target)} cannot hold it: {reason}", hint=_advice(target))
        if reason:
            return steps._replace(otherwise="")
    return steps


def _without_pixels(description: PixelDescription | None, source: str, target: str) -> Steps:
    if source == target:
        return Steps(source, target, RELABEL if is_encapsulated(source) else COPY)
    _require_known(source, ENCODED | NATIVE | RETIRED_JPEG, "decoded")
    _require_known(target, ENCODED | NATIVE, "encoded")
    return Steps(source, EXPLICIT if is_encapsulated(target) else target, COPY)


def _compressed(source: str, target: str, relabel: bool) -> Steps:
    if target in NATIVE:
        return Steps(source, target, DECODE)
    action = ENCODE if source in NATIVE else RECODE
    if (source, target) in _RECOMPRESSIONS:
        return Steps(source, target, RECOMPRESS)
    steps = Steps(source, target, action, lossy=target in LOSSY)
    if not relabel:
        return steps
    if (source, target) in _RELABELS:
        condition = _RELABELS[source, target]
        return Steps(source, target, RELABEL, condition=condition, otherwise=action if condition else "")
    return steps


def _require_known(syntax: str, known: frozenset[str], what: str) -> None:
    if syntax not in known:
        raise UnsupportedSyntaxError(
            f"{name_of(syntax)} cannot be {what} here",
            hint="such files can only be passed on as they are; dcmkit transcode --list shows what can be",
        )


def _advice(target: str) -> str:
    return "a lossless syntax can hold it" if target in LOSSY else "dcmkit transcode --list shows what there is"


_UNSIGNED = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_XL_RECOMPRESSION, JPEG_XL})
_AS_THEY_ARE = frozenset({ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAME})
_BITS = {
    **dict.fromkeys((JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_LS_NEAR, JPEG_XL_LOSSLESS, JPEG_XL), (2, 16)),
    **dict.fromkeys((JPEG_2000_LOSSLESS, JPEG_2000, HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K), (1, 24)),
    JPEG_BASELINE: (2, 8), JPEG_XL_RECOMPRESSION: (2, 8), JPEG_EXTENDED: (2, 12), RLE: (1, 64),
}  # fmt: skip
"""The fewest and the most bits of a sample, as the codecs here have them."""


def refusal(description: PixelDescription, target: str) -> str:
    """Why a compressed syntax cannot hold such samples (PS3.5 8.2), or ""."""
    bits = description.bits_stored
    if description.element != PIXEL_DATA:
        return "float pixel data are never compressed"
    if target in _AS_THEY_ARE:
        return ""
    fewest, most = _BITS[target]
    if not fewest <= bits <= most:
        return f"{bits} bits are stored, and it takes {fewest} to {most}"
    if description.signed and target in _UNSIGNED:
        return "its samples are signed"
    if description.photometric_interpretation == "PALETTE COLOR" and target in LOSSY:
        return "colours of a palette would become others"
    if description.bits_allocated == 1 and target in LOSSY:
        return "its samples are single bits"
    if description.samples_per_pixel not in (1, 3) and target != RLE:
        return f"it has {description.samples_per_pixel} samples per pixel"
    return ""

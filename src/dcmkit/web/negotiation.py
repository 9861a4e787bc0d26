"""Which representation of a resource is sent: what the client accepts against what there is (PS3.18 8.7.8, 10.4.4).

The server says what it offers, best first; the first offer is the default media type of the resource's category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.pixels import syntaxes
from dcmkit.web.media_types import ALIASES, MediaRange, MediaType, MediaTypeError, covers, parse_accept

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

DICOM, ZIP, OCTETS = "application/dicom", "application/zip", "application/octet-stream"
DICOM_JSON, DICOM_XML, JSON, CSV = "application/dicom+json", "application/dicom+xml", "application/json", "text/csv"

ANY = "*"
"""The transfer syntax that means: each object in the one it is stored in (PS3.18 8.7.3.5.2)."""

ONE, PARTS = False, True
"""The two forms: one representation is the payload, or each is a part of multipart/related."""


class NotAcceptableError(MediaTypeError):
    """None of the media types that the client accepts is there (PS3.18 8.7.8.1)."""

    http_status = 406


class Offer(NamedTuple):
    """A media type in which a resource can be sent.

    Attributes:
        transfer_syntaxes: in which it can be; none for a media type that has no such parameter.
        default: which of them is sent to who names none.
        stored: which of them is sent to who names `*`: a UID, or `ANY` where that differs from object to object.
        forms: ONE, PARTS or both, the usual one first.
    """

    media_type: str
    transfer_syntaxes: tuple[str, ...] = ()
    default: str = ""
    stored: str = ANY
    forms: tuple[bool, ...] = (PARTS, ONE)


class Choice(NamedTuple):
    """The selected media type and transfer syntax: a UID, `ANY` for as stored, "" where the media type has none."""

    media_type: str
    transfer_syntax: str
    multipart: bool

    def part_type(self, transfer_syntax: str = "") -> str:
        """The Content-Type of one representation; with `ANY`, the caller knows its `transfer_syntax`."""
        syntax = transfer_syntax or self.transfer_syntax
        return str(MediaType(self.media_type, {"transfer-syntax": syntax} if syntax not in ("", ANY) else {}))

    def content_type(self, boundary: str = "", transfer_syntax: str = "") -> str:
        """The Content-Type of the payload; `boundary` is that of its parts (RFC 2387)."""
        if not self.multipart:
            return self.part_type(transfer_syntax)
        return f'multipart/related; type="{self.media_type}"; boundary={boundary}'


def select(offers: Sequence[Offer], accept: str | None, accept_parameter: str | None = None) -> Choice:
    """What is sent: the best of the parameter `accept` of the query, else of the header (PS3.18 8.7.8.1).

    The highest quality wins; then what is named over what is meant by an asterisk, the client's order, the server's.

    Raises:
        MediaTypeError: what is accepted cannot be read.
        NotAcceptableError: nothing of it is offered.
    """
    choice = None
    if accept_parameter:
        choice = _best(offers, parse_accept(accept_parameter, query=True))
    if choice is None and not (accept_parameter and accept is None):
        choice = _best(offers, parse_accept(accept))
    if choice is None:
        raise NotAcceptableError(
            "none of the media types accepted is offered", hint="offered are " + ", ".join(map(describe, offers))
        )
    return choice


def describe(offer: Offer) -> str:
    """An offer as a client would ask for it."""
    return f'multipart/related; type="{offer.media_type}"' if offer.forms[0] == PARTS else offer.media_type


def _best(offers: Sequence[Offer], ranges: Sequence[MediaRange]) -> Choice | None:
    """The choice of highest rank. At most MAX_RANGES² × offers steps."""
    made = [
        [(choice, usual) for offer in offers for choice, usual in _choices(offer, media_range)]
        for media_range in ranges
    ]
    verdicts: dict[Choice, tuple[tuple[int, int, int], float]] = {}
    for media_range, choices in zip(ranges, made, strict=True):
        for choice, _ in choices:  # the most specific range says the quality (RFC 9110 12.5.1)
            verdict = (_specificity(media_range), media_range.quality)
            verdicts[choice] = max(verdicts.get(choice, verdict), verdict)
    best, rank = None, None
    for order, choices in enumerate(made):
        for choice, usual in choices:
            specificity, quality = verdicts[choice]
            ranked = (quality, specificity[:2], -order, usual)
            if quality > 0 and (rank is None or ranked > rank):
                best, rank = choice, ranked
    return best


def _choices(offer: Offer, media_range: MediaRange) -> Iterator[tuple[Choice, bool]]:
    """The ways to send `offer` that `media_range` allows, each with whether it is the usual form."""
    syntax = _transfer_syntax(offer, media_range.parameters.get("transfer-syntax"))
    if syntax is None:
        return
    for form in offer.forms:
        if form == PARTS:
            allowed = media_range.covers("multipart/related")
            inner = media_range.parameters.get("type")
            if media_range.type == "multipart" and inner:
                inner = inner.partition(";")[0].strip().lower()
                allowed = allowed and covers(ALIASES.get(inner, inner), offer.media_type)
        else:
            allowed = media_range.covers(offer.media_type)
        if allowed:
            yield Choice(offer.media_type, syntax, form), form == offer.forms[0]


def _transfer_syntax(offer: Offer, wanted: str | None) -> str | None:
    """The transfer syntax for who says `wanted`; "" for a media type without any; None if it is not offered."""
    if not offer.transfer_syntaxes:
        return ""
    if wanted is None:
        return offer.default or offer.transfer_syntaxes[0]
    if wanted == ANY:
        return offer.stored
    return wanted if wanted in offer.transfer_syntaxes else None


def _specificity(media_range: MediaRange) -> tuple[int, int, int]:
    def named(pattern: str) -> int:
        return 0 if pattern == "*/*" else 1 if pattern.endswith("/*") else 2

    wanted = media_range.parameters.get("transfer-syntax")
    inner = media_range.parameters.get("type", "*/*") if media_range.type == "multipart" else ""
    outer = named(f"{media_range.type}/{media_range.subtype}")
    return outer, named(inner) if inner else outer, 0 if wanted is None else 1 if wanted == ANY else 2


# --- what resources offer ----------------------------------------------------------------------------------------

FRAME_TYPES: dict[str, tuple[str, ...]] = {
    "image/jpeg": (
        syntaxes.JPEG_LOSSLESS_SV1,
        syntaxes.JPEG_BASELINE,
        syntaxes.JPEG_EXTENDED,
        syntaxes.JPEG_LOSSLESS,
    ),
    "image/dicom-rle": (syntaxes.RLE,),
    "image/jls": (syntaxes.JPEG_LS, syntaxes.JPEG_LS_NEAR),
    "image/jp2": (syntaxes.JPEG_2000_LOSSLESS, syntaxes.JPEG_2000),
    "image/jpx": ("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"),
    "image/jphc": (syntaxes.HTJ2K_LOSSLESS, syntaxes.HTJ2K_RPCL, syntaxes.HTJ2K),
    "image/jxl": (syntaxes.JPEG_XL_LOSSLESS, syntaxes.JPEG_XL_RECOMPRESSION, syntaxes.JPEG_XL),
    "video/mpeg2": tuple(f"1.2.840.10008.1.2.4.{number}" for number in ("101", "101.1", "100", "100.1")),
    "video/mp4": tuple(
        f"1.2.840.10008.1.2.4.{number}{fragmentable}"
        for number in ("102", "103", "104", "105", "106")
        for fragmentable in ("", ".1")
    ),
    "video/H265": ("1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"),
}
"""Media types of compressed frames and their transfer syntaxes, the default first (PS3.18 Table 8.7.3-5)."""

_TYPE_OF = {uid: name for name, uids in FRAME_TYPES.items() for uid in uids}


def frame_type(transfer_syntax: str) -> str:
    """The media type of one frame's bytes as an object in `transfer_syntax` has them."""
    return _TYPE_OF.get(transfer_syntax, OCTETS)


def instance_offers(
    encodable: Collection[str], *, stored: str = ANY, default: str = syntaxes.EXPLICIT, one: bool = False
) -> tuple[Offer, ...]:
    """Whole objects of a study, series or instance (PS3.18 10.4.1.1.1): files, or a zip of them.

    Args:
        encodable: the transfer syntaxes they can all be sent in, whatever they are stored in.
        stored: the one they are all stored in, if so.
        default: for who names none; PS3.18 8.7.3.2 says Explicit VR Little Endian, which video cannot be.
        one: whether the resource is an instance, which application/dicom without parts is for.
    """
    uids = dict.fromkeys((default, *encodable, *(() if stored == ANY else (stored,))))
    # PS3.18 8.7.3: these two shall not be used with web services, but for who asks for what is stored
    allowed = tuple(uid for uid in uids if uid not in (syntaxes.IMPLICIT, syntaxes.BIG_ENDIAN))
    forms = (PARTS, ONE) if one else (PARTS,)
    return Offer(DICOM, allowed, default, stored, forms), Offer(ZIP, allowed, default, stored, (ONE,))


def frame_offers(stored: str, encodable: Collection[str], *, one: bool = False) -> tuple[Offer, ...]:
    """Frames of one object (PS3.18 10.4.1.1.6), without anything else of it.

    Who names no transfer syntax of the media type that the frames are stored in gets them as they are.

    Args:
        stored: the transfer syntax of the object.
        encodable: those its frames can be sent in: what they can be decoded and encoded to.
        one: whether a single frame is asked for, which may come without parts.
    """
    forms = (PARTS, ONE) if one else (PARTS,)
    stored = syntaxes.EXPLICIT if stored in syntaxes.NATIVE else stored
    native = stored == syntaxes.EXPLICIT or syntaxes.EXPLICIT in encodable
    octets = Offer(
        OCTETS,
        tuple(dict.fromkeys((syntaxes.EXPLICIT, stored) if native else (stored,))),
        syntaxes.EXPLICIT if native else stored,
        stored,
        forms,
    )
    compressed = []
    for name, uids in FRAME_TYPES.items():
        there = tuple(uid for uid in uids if uid == stored or uid in encodable)
        if there:
            preferred = stored if stored in there else there[0]
            compressed.append(Offer(name, there, preferred, preferred, forms))
    compressed.sort(key=lambda offer: stored not in offer.transfer_syntaxes)
    return (octets, *compressed) if native else (*compressed, octets)


def bulk_data_offers(media_type: str = OCTETS, *, one: bool = True) -> tuple[Offer, ...]:
    """Bulk data that is no pixel data, as it is: octets, and by its own media type where it has one (a document)."""
    forms = (PARTS, ONE) if one else (PARTS,)
    names = dict.fromkeys((OCTETS, media_type))
    return tuple(Offer(name, forms=forms) for name in names)


def metadata_offers(*, one: bool = False) -> tuple[Offer, ...]:
    """Metadata: an array of JSON objects, or parts with XML (PS3.18 8.7.3.2); XML without parts for one instance."""
    return (
        Offer(DICOM_JSON, forms=(ONE,)),
        Offer(DICOM_XML, forms=(PARTS, ONE) if one else (PARTS,)),
        Offer(JSON, forms=(ONE,)),
    )


def search_offers() -> tuple[Offer, ...]:
    """Answers of a search (PS3.18 10.6.4), and CSV."""
    return (*metadata_offers(), Offer(CSV, forms=(ONE,)))


def rendered_offers(media_types: Sequence[str], *, one: bool) -> tuple[Offer, ...]:
    """Rendered images and documents (PS3.18 8.7.4).

    Args:
        media_types: what they can be rendered to, the default (image/jpeg for images) first.
        one: whether one item is the answer; of a study or series it never is (PS3.18 10.4.4).
    """
    return tuple(Offer(name, forms=(ONE, PARTS) if one else (PARTS,)) for name in media_types)

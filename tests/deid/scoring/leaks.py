"""Values that were to go, looked for in every byte of what came out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator

from tests.deid.scoring.compare import STANDARD_UIDS, Comparison, Removed
from tests.deid.scoring.tokens import tokens
from tests.deid.scoring.tree import File, walk

_NUMBERS = {"AS", "DA", "DS", "DT", "IS", "TM"}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
_TEXTS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UR", "UT"}
SHORTEST = 4
_DERIVED_UID = re.compile(rb"2\.25\.[0-9]{20,}")


def views(file: File) -> Iterator[bytes]:
    """The bytes of a file, and once more inflated where they are deflated."""
    yield file.raw
    if len(file.inflated) != len(file.raw) and file.inflated not in file.raw:
        yield file.inflated


def in_file(comparison: Comparison, before: File, after: File, planted: frozenset[bytes]) -> None:
    """Add a finding for each removed value that is still there, and for each planted word that has no business there.

    Args:
        planted: the words of all inputs; those that may stay in this file are left out of themselves.
    """
    allowed = tokens(b"\0".join(comparison.kept))
    if "retain-modified-dates" in comparison.options:
        comparison.shifted.update(
            e.value[:8].decode("latin-1") for _, e in walk(after.data_set) if e.vr in {"DA", "DT"}
        )
    for view in views(after):
        for token in sorted((tokens(view) & planted) - allowed):
            where = next((r.path for r in comparison.removed if token in r.value.lower()), "somewhere else")
            comparison.wrong("leak", where, f"the planted word {token.decode()} is in the output{_place(view, token)}")
        _search(comparison, view, before)


def _search(comparison: Comparison, view: bytes, before: File) -> None:
    kept = b"\0".join(comparison.kept)
    masked = _DERIVED_UID.sub(lambda match: b"." * len(match[0]), view)
    for uid in sorted(comparison.mapping.back, key=len, reverse=True):
        if len(uid) > 20:
            masked = masked.replace(uid.encode(), b"." * len(uid))
    for removed in comparison.removed:
        if not removed.whole or removed.path.endswith(".7FE0,0010"):
            continue
        for form in _forms(removed, comparison, before):
            if form in (masked if removed.vr in _NUMBERS or form.isdigit() else view) and form not in kept:
                comparison.wrong("leak", removed.path, f"{form[:40]!r} is in the output{_place(view, form)}")
                break


def _forms(removed: Removed, comparison: Comparison, before: File) -> Iterable[bytes]:
    """How a value may be written: as it was, in other character sets, in parts, as dates are written."""
    value = removed.value.strip(b"\0 ")
    if len(value) < SHORTEST:
        return
    if removed.vr in _BYTES:
        yield value
        return
    if removed.vr not in _TEXTS | _NUMBERS:
        return
    for part in value.split(b"\\"):
        part = part.strip()
        if removed.vr == "UI" and part.decode("latin-1").startswith(STANDARD_UIDS):
            continue
        if removed.vr in _NUMBERS:
            yield from _numbers(removed.vr, part, comparison)
            continue
        pieces = re.split(rb"[\^=]", part) if removed.vr == "PN" else [part]
        for piece in pieces:
            if len(piece.strip()) >= (8 if piece.strip().isdigit() else SHORTEST):
                yield from _encodings(piece.strip(), before)


def _numbers(vr: str, part: bytes, comparison: Comparison) -> Iterable[bytes]:
    """Numbers long enough that they are found by no accident, and no dummy's or shifted date's."""
    digits = part.decode("latin-1")
    if vr in {"DA", "DT"}:
        if len(part) < 8 or digits[:8] in comparison.shifted or digits.startswith("19000101"):
            return
        yield part
        if vr == "DA" and digits.isdigit():
            yield f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}".encode()
    elif len(part) >= (9 if vr == "TM" else SHORTEST) and not set(digits) <= set("0."):
        yield part


def _encodings(piece: bytes, before: File) -> Iterable[bytes]:
    yield piece
    text = _decoded(piece, before)
    for codec in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
        try:
            form = text.encode(codec)
        except UnicodeEncodeError:
            continue
        if form != piece:
            yield form


def _decoded(piece: bytes, before: File) -> str:
    from pydicom.charset import convert_encodings, decode_bytes

    terms = before.data_set.text(0x00080005).split("\\")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode_bytes(piece, convert_encodings(terms if terms != [""] else "ISO_IR 6"), set())
    except (LookupError, UnicodeDecodeError, ValueError):
        return piece.decode("latin-1")


def _place(view: bytes, form: bytes) -> str:
    at = view.lower().find(form.lower())
    return f" at {at} of {len(view)}, after {view[max(0, at - 24) : at]!r}" if at >= 0 else " (wide)"

"""One object as the index takes it: where its file lies, and the raw values its header holds."""

from __future__ import annotations

from dcmkit.archive.attributes import (
    BY_LEVEL,
    LEVELS,
    SERIES_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    STUDY_INSTANCE_UID,
    Attribute,
)
from dcmkit.dataset.part10 import clean_uid
from dcmkit.dataset.scanner import ScannedHeader, read_items
from dcmkit.dataset.values import (
    CharacterSet,
    character_set,
    decode_integer,
    decode_numbers,
    decode_text,
    fold,
    is_number,
)
from dcmkit.errors import DcmkitError

_BIGGEST = 1 << 63
_UNDECODED, _ESCAPE = "\ufffd", 0x1B
_UNDECLARED = character_set("")
_EMPTY_TEXT = frozenset({"PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID"})
_TEXT, _INTEGER, _NUMBER, _NAME, _SEQUENCE = range(5)


def _kind(attribute: Attribute) -> int:
    if attribute.sequence:
        return _SEQUENCE
    if is_number(attribute.vr):
        return _NUMBER
    if attribute.is_integer:
        return _INTEGER
    return _NAME if attribute.is_name else _TEXT


_PLANS = {
    level: tuple((_kind(a), a.tag, "" if a.keyword in _EMPTY_TEXT else None, a) for a in BY_LEVEL[level])
    for level in LEVELS
}


class Record:
    """A file and its index keys, decoded only as far as they are asked for.

    Attributes:
        directory: relative to the archive with `/`, or absolute for a file indexed in place; "" is the archive itself.
        name: the file's name in it.
        received: seconds since 1970.
        digest: SHA-256 of the file in hexadecimal, where it was asked for.
        copy: how many files of the same SOP Instance were there before (set by the index).
        extra: attributes to index beyond those of `attributes.py`.
        supersedes: the files (directory, name) whose rows go when this one's comes.
        done, error: how indexing went, for whoever waits (set by the committer).
    """

    __slots__ = (
        "_charset", "copy", "data_set_offset", "digest", "directory", "done", "error", "extra", "header", "mtime_ns",
        "name", "received", "size", "sop_class_uid", "sop_instance_uid", "source_ae_title", "supersedes",
        "transfer_syntax_uid",
    )  # fmt: skip

    def __init__(
        self,
        header: ScannedHeader,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        extra: tuple[Attribute, ...] = (),
    ) -> None:
        self.header = header
        self.sop_class_uid = sop_class_uid
        self.sop_instance_uid = sop_instance_uid
        self.transfer_syntax_uid = transfer_syntax_uid
        self.extra = extra
        self.directory = self.name = self.source_ae_title = ""
        self.data_set_offset = self.size = self.mtime_ns = self.received = self.copy = 0
        self.digest: str | None = None
        self.supersedes: tuple[tuple[str, str], ...] = ()
        self.done = False
        self.error: DcmkitError | None = None
        self._charset: CharacterSet | None = None

    @property
    def path(self) -> str:
        """Relative to the archive with `/`, or absolute."""
        return f"{self.directory}/{self.name}" if self.directory else self.name

    @property
    def charset(self) -> CharacterSet:
        """The character set of the data set."""
        if self._charset is None:
            self._charset = character_set(self.header.values.get(SPECIFIC_CHARACTER_SET))
        return self._charset

    @property
    def study_instance_uid(self) -> str:
        """Empty where the data set has none."""
        return clean_uid(self.header.values.get(STUDY_INSTANCE_UID, b""))

    @property
    def series_instance_uid(self) -> str:
        """Empty where the data set has none."""
        return clean_uid(self.header.values.get(SERIES_INSTANCE_UID, b""))

    def text(self, attribute: Attribute) -> str:
        """One attribute as text, "" where it is missing."""
        if attribute.sequence:
            return self._in_items(attribute)
        raw = self.header.values.get(attribute.tag)
        if not raw:
            return ""
        if is_number(attribute.vr):
            return decode_numbers(raw, attribute.vr, self.header.big_endian)
        return _text(raw, self.charset)

    def _in_items(self, attribute: Attribute) -> str:
        raw = self.header.values.get(attribute.sequence)
        if not raw:
            return ""
        wanted = frozenset({attribute.tag, SPECIFIC_CHARACTER_SET})
        found = []
        for item in read_items(raw, wanted, self.header):
            own = item.get(SPECIFIC_CHARACTER_SET)
            charset = self.charset if own is None else character_set(own)
            text = _text(item.get(attribute.tag, b""), charset)
            found.append(text.partition("\\")[0])  # a value of its own for each item
        return "\\".join(found) if any(found) else ""

    def columns(self, level: str) -> list[str | int | None]:
        """The values of `schema.columns_of(level)`; None for what is missing or empty."""
        get = self.header.values.get
        charset = self.charset
        row: list[str | int | None] = []
        add = row.append
        for kind, tag, missing, attribute in _PLANS[level]:
            raw = get(tag)
            if kind == _SEQUENCE:
                add(self._in_items(attribute) or None)
            elif not raw:
                add(missing)
                if kind == _NAME:
                    add(None)
            elif kind == _TEXT:
                add(_text(raw, charset) or missing)
            elif kind == _NAME:
                text = _text(raw, charset)
                add(text or None)
                add(fold(text) or None)
            elif kind == _NUMBER:
                add(decode_integer(raw, attribute.vr, self.header.big_endian))
            else:
                add(_integer(decode_text(raw, charset)))
        return row


def _text(raw: bytes, charset: CharacterSet) -> str:
    """A text; where its bytes contradict the character set declared, as where none is declared."""
    text = decode_text(raw, charset)
    if _UNDECODED in text and _ESCAPE not in raw:
        return decode_text(raw, _UNDECLARED)
    return text


def _integer(text: str) -> int | None:
    """The (first) number in `text`, where SQLite can hold it."""
    try:
        number = int(text[:100].partition("\\")[0])
    except ValueError:
        return None
    return number if -_BIGGEST <= number < _BIGGEST else None

"""Answers to a query as they arrive: to stdout as table, JSON, CSV or XML, and to files as DCMTK's findscu does.

Nothing is held back: whatever has arrived is on stdout before the program waits for more (`Printer.pause`).
Text from the peer is escaped; JSON and CSV are UTF-8 whatever the locale.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.cli.output import FORMATS, escape, escape_json, stdout_errors
from dcmkit.dataset.dictionary import keyword_of, vr_of
from dcmkit.dataset.elements import DataSet, encode
from dcmkit.errors import OutputDirectoryError, OutputError
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ANSWER_FORMATS = (*FORMATS, "xml")
"""What `--format` of a query takes."""

_FIRST_ROWS = 200
"""Rows that decide how wide the columns of a table are, where the peer does not pause before."""
_WIDEST = 64
"""No column is made wider than this for its first rows; longer cells push the others aside."""
_AT_ONCE = 100
"""Texts that are written together where the peer does not pause."""
_USUAL_WIDTHS = {"PN": 20, "LO": 16, "UI": 44, "SH": 10, "CS": 8, "TM": 6, "DA": 8}
"""What more rows are likely to need, where the peer pauses after the first."""
_SPECIFIC_CHARACTER_SET, _QUERY_RETRIEVE_LEVEL = 0x00080005, 0x00080052
_UNSHOWN = (_SPECIFIC_CHARACTER_SET, _QUERY_RETRIEVE_LEVEL)
"""Keys that are asked for but no columns: they say the same in every row."""


class Column(NamedTuple):
    """A column of a table: the tags that lead to its value, and what it is called."""

    path: tuple[int, ...]
    name: str


def columns_of(identifier: DataSet) -> list[Column]:
    """A column for each key that was asked for, those within sequences too."""
    return [Column(path, ".".join(map(_name, path))) for path in _paths(identifier)]


def _paths(data_set: DataSet) -> list[tuple[int, ...]]:
    paths: list[tuple[int, ...]] = []
    for tag, (_, value) in data_set.items():
        if tag in _UNSHOWN:
            continue
        if isinstance(value, list) and any(value):
            inner = [path for item in value for path in _paths(item)]
            paths += dict.fromkeys((tag, *path) for path in inner)
        else:
            paths.append((tag,))
    return paths


def _name(tag: int) -> str:
    return keyword_of(tag) or f"{tag:08X}"


def cell(data_set: DataSet, path: tuple[int, ...]) -> str:
    """A value as one line of text; several, also those of several items, are joined by backslashes."""
    found = data_set.get(path[0])
    if found is None:
        return ""
    value = found.value
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bytes):
        return value.hex()
    if len(path) > 1:
        return "\\".join(text for item in value if (text := cell(item, path[1:])))
    return _items(value)


def _items(items: list[DataSet]) -> str:
    """A sequence asked for as a whole: `Keyword=value` of what is in its items."""
    texts = [", ".join(f"{_name(tag)}={text}" for tag in item if (text := cell(item, (tag,)))) for item in items]
    return "; ".join(text for text in texts if text)


# --- stdout ------------------------------------------------------------------------------------------------------


def printer(form: str, columns: Sequence[Column]) -> Printer:
    """What prints in one of `ANSWER_FORMATS`."""
    if form == "json":
        return JsonPrinter()
    if form == "jsonl":
        return JsonLinesPrinter()
    if form == "xml":
        return XmlPrinter()
    return CsvPrinter(columns) if form == "csv" else TablePrinter(columns)


class Printer:
    """Prints answers one by one, a few at a time where they come quickly."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, answer: DataSet) -> None:
        """One more answer."""
        raise NotImplementedError

    def pause(self) -> None:
        """The next answer is not there yet: what has been added is to be seen now."""
        if self._texts:
            self._out(flush=True)

    def close(self) -> None:
        """There are no more answers."""
        self.pause()

    def _write(self, text: str) -> None:
        self._texts.append(text)
        if len(self._texts) >= _AT_ONCE:
            self._out()

    def _out(self, *, flush: bool = False) -> None:
        texts, self._texts = self._texts, []
        with stdout_errors():
            sys.stdout.write("".join(texts))
            if flush:
                sys.stdout.flush()


class JsonLinesPrinter(Printer):
    """An object of the DICOM JSON model on each line."""

    def __init__(self) -> None:
        super().__init__()
        from dcmkit.dataset.json_text import to_json_text

        self._json: Callable[[DataSet], str] = to_json_text

    def _text(self, answer: DataSet) -> str:
        text = self._json(answer)
        return text if text.isprintable() else escape_json(text)

    def add(self, answer: DataSet) -> None:
        """As one line."""
        self._write(self._text(answer) + "\n")


class JsonPrinter(JsonLinesPrinter):
    """One array of objects of the DICOM JSON model."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def add(self, answer: DataSet) -> None:
        """As one member."""
        self._write(("[\n" if not self._count else ",\n") + self._text(answer))
        self._count += 1

    def close(self) -> None:
        """The end of the array, also of one without members."""
        self._write("\n]\n" if self._count else "[]\n")
        super().close()


class XmlPrinter(Printer):
    """The Native DICOM Model (PS3.19 A.1), in one document."""

    def __init__(self) -> None:
        super().__init__()
        from dcmkit.dataset.xml_model import NativeWriter

        self._writer = NativeWriter(self._write)

    def _write(self, text: str) -> None:
        """With references for what a terminal would obey, or what would hide."""
        if not text.isascii():
            text = "".join([char if char.isascii() or escape(char) == char else f"&#{ord(char)};" for char in text])
        super()._write(text)

    def add(self, answer: DataSet) -> None:
        """As one NativeDicomModel."""
        self._writer.add(answer)

    def close(self) -> None:
        """The end of the document."""
        self._writer.close()
        super().close()


class _Lines:
    """What the csv module writes to."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write


class CsvPrinter(Printer):
    """Comma-separated values under the keywords."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        import csv

        self._paths = [column.path for column in columns]
        self._row = csv.writer(_Lines(self._write), lineterminator="\n").writerow
        self._row([column.name for column in columns])

    def add(self, answer: DataSet) -> None:
        """As one row."""
        self._row([cell(answer, path) for path in self._paths])


class TablePrinter(Printer):
    """For people: the widths come from the rows that are there when the peer first pauses."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._columns = columns
        self._waiting: list[list[str]] = []
        self._widths: list[int] = []

    def add(self, answer: DataSet) -> None:
        """As one row."""
        row = [cell(answer, column.path) for column in self._columns]
        if self._widths:
            self._line(row)
            return
        self._waiting.append(row)
        if len(self._waiting) >= _FIRST_ROWS:
            self._begin()

    def pause(self) -> None:
        """Show the rows there are."""
        if self._waiting:
            self._begin([_USUAL_WIDTHS.get(vr_of(column.path[-1]), 0) for column in self._columns])
        super().pause()

    def close(self) -> None:
        """Show the rest, which may be all there is."""
        if self._waiting:
            self._begin()
        super().close()

    def _begin(self, expected: Sequence[int] = ()) -> None:
        heads = _heads([column.path for column in self._columns])
        widths = [max(_width(row[at]) for row in self._waiting) for at in range(len(heads))]
        if expected:
            widths = [max(width, likely) for width, likely in zip(widths, expected, strict=True)]
        wrapped = [_wrap(head, width) for head, width in zip(heads, widths, strict=True)]
        self._widths = [
            max(min(width, _WIDEST), *map(len, lines)) for width, lines in zip(widths, wrapped, strict=True)
        ]
        height = max(map(len, wrapped), default=0)
        for at in range(height):
            self._line([lines[at] if at < len(lines) else "" for lines in wrapped])
        self._line(["-" * width for width in self._widths])
        for row in self._waiting:
            self._line(row)
        self._waiting = []

    def _line(self, row: list[str]) -> None:
        padded = [text + " " * (width - _width(text)) for text, width in zip(row, self._widths, strict=True)]
        self._write("  ".join(padded).rstrip() + "\n")


def _heads(paths: Sequence[tuple[int, ...]]) -> list[str]:
    """The last keyword of each path; the whole path where that would be ambiguous."""
    last = [path[-1] for path in paths]
    return [_name(path[-1]) if last.count(path[-1]) == 1 else ".".join(map(_name, path)) for path in paths]


def _wrap(head: str, width: int) -> list[str]:
    """A keyword on several lines where its column is narrower: `NumberOf`, `StudyRelated`, `Instances`."""
    words: list[str] = []
    for character in head:
        if words and not (character.isupper() and not words[-1][-1:].isupper()):
            words[-1] += character
        else:
            words.append(character)
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > max(width, 10):
            lines.append("")
        lines[-1] += word
    return lines


def _width(text: str) -> int:
    """Columns of a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


# --- files -------------------------------------------------------------------------------------------------------


class Extraction:
    """Answers into files, each written under another name first: `rsp0001.dcm`, `rsp0001.xml`, or all in one file.

    Args:
        directory: where they go; it must exist.
        dicom: write DICOM files (DCMTK's -X).
        xml: write an XML file for each answer (-Xx).
        xml_single: write one XML file with all answers (-Xs); "" for none.
        limit: write so many answers at most; 0 is no limit (-Xlo).
        sop_class_uid: the information model, which the files name as their SOP class.

    Attributes:
        count: how many answers were written.
        wanted: whether anything is to be written at all.

    Raises:
        OutputDirectoryError: there is no such directory, or nothing can be written to it.
    """

    def __init__(
        self,
        directory: str,
        *,
        dicom: bool = False,
        xml: bool = False,
        xml_single: str = "",
        limit: int = 0,
        sop_class_uid: str = "",
    ) -> None:
        self.count = 0
        self.wanted = dicom or xml or bool(xml_single)
        if self.wanted and not os.path.isdir(directory):
            raise OutputDirectoryError(f"output directory {directory} does not exist", hint="make it first")
        self._directory = directory
        self._dicom = dicom
        self._xml = xml
        self._limit = limit
        self._sop_class_uid = sop_class_uid
        self._single = _XmlFile(os.path.join(directory, xml_single)) if xml_single else None

    def add(self, answer: DataSet) -> None:
        """Write one answer.

        Raises:
            OutputError: it cannot be written.
            InvalidDataSetError: it has a value that no DICOM file can hold.
        """
        if self._limit and self.count >= self._limit:
            return
        self.count += 1
        stem = os.path.join(self._directory, f"rsp{self.count:04}")
        if self._dicom:
            write_file(stem + ".dcm", self._part10(answer))
        if self._xml:
            from dcmkit.dataset.xml_model import to_dcm2xml

            write_file(stem + ".xml", to_dcm2xml(answer).encode())
        if self._single is not None:
            self._single.add(answer)

    def _part10(self, answer: DataSet) -> bytes:
        from dcmkit.dataset.part10 import file_meta

        uid = f"2.25.{int.from_bytes(os.urandom(16), 'big')}"  # PS3.5 B.2; an answer has none of its own
        charset = None if _is_ascii(answer) else "ISO_IR 192"
        data = encode(answer, EXPLICIT_VR_LITTLE_ENDIAN, charset=charset)
        return file_meta(self._sop_class_uid, uid, EXPLICIT_VR_LITTLE_ENDIAN) + data

    def close(self) -> None:
        """Give the one file its name, where there is one.

        Raises:
            OutputError: it cannot be written.
        """
        if self._single is not None:
            self._single.close()


class _XmlFile:
    """DCMTK's document of all responses, under a temporary name until it is complete."""

    def __init__(self, path: str) -> None:
        from dcmkit.dataset.xml_model import Dcm2xmlWriter

        self._path = path
        self._temporary = _temporary(path)
        try:
            self._file = open(self._temporary, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 - close()
        except OSError as error:
            raise _output_error(path, error) from None
        self._writer = Dcm2xmlWriter(self._file.write)

    def add(self, answer: DataSet) -> None:
        try:
            self._writer.add(answer)
        except OSError as error:
            raise _output_error(self._path, error) from None

    def close(self) -> None:
        try:
            self._writer.close()
            self._file.close()
            os.replace(self._temporary, self._path)
        except OSError as error:
            try:
                os.unlink(self._temporary)
            except OSError:
                pass
            raise _output_error(self._path, error) from None


def _is_ascii(data_set: DataSet) -> bool:
    return all(
        value.isascii() if isinstance(value, str) else all(map(_is_ascii, value)) if isinstance(value, list) else True
        for _, value in data_set.values()
    )


def write_file(path: str, data: bytes) -> None:
    """A whole file or none, in place of one of that name.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = _temporary(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise _output_error(path, error) from None


def _temporary(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.getpid()}")


def _output_error(path: str, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written: {error.strerror or error}")

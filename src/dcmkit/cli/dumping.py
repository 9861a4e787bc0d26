"""What `dcmkit dump` writes for each file, one class for each `--format`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.cli.output import json_text, stdout_errors
from dcmkit.dataset.dump import Look, Printer, declared, search, tag_text
from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.dump_model import Bulk, Choice, Model
from dcmkit.dataset.nodes import SEQUENCE, Bytes, Node
from dcmkit.dataset.values import CharacterSet, character_set
from dcmkit.errors import UsageError
from dcmkit.logs import escape

if TYPE_CHECKING:
    from dcmkit.dataset.elements import DataSet

FORMATS = ("text", "json", "jsonl", "xml", "dcm2xml", "csv")
"""What `--format` takes."""
_HIDDEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What XML may hold and a terminal obeys, or hides."""


class Wanted(NamedTuple):
    """What is to be written.

    Attributes:
        look: how text looks.
        choice: which elements.
        paths: searched for; none: everything.
        first: only the first of each path.
        prepend: the path of sequences before each that was found.
        heading: 0 no file names; 1 before each file; 2 before each in which something was found.
        files: how many files there are, where that is known.
        meta: whether the file meta is in it; None as the format has it.
        bulk: which values stay in the file.
    """

    look: Look
    choice: Choice
    paths: tuple[tuple[int, ...], ...] = ()
    first: bool = False
    prepend: bool = False
    heading: int = 0
    files: int = 0
    meta: bool | None = None
    bulk: Bulk = Bulk()


class Writer:
    """Writes files, one after the other."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.count = 0

    def add(self, file: DumpFile) -> None:
        """One more file."""
        self.count += 1
        with stdout_errors():
            self.write(file)

    def write(self, file: DumpFile) -> None:
        """It alone."""
        raise NotImplementedError

    def close(self) -> None:
        """Whatever ends the output."""

    def model(self, file: DumpFile) -> tuple[DataSet, Model]:
        """A file as a data set, its file meta in it where that is wanted."""
        wanted = self.wanted
        model = Model(file, wanted.choice.of(file.nodes), wanted.bulk, wanted.look.charset)
        meta = model.meta if wanted.meta else {}
        return meta | model.data_set, model


class Text(Writer):
    """As dcmdump does."""

    def write(self, file: DumpFile) -> None:
        wanted = self.wanted
        file.meta = wanted.choice.of(file.meta) if wanted.meta is not False else []
        file.nodes = wanted.choice.of(file.nodes)
        printer = Printer(file, wanted.look)
        if wanted.heading == 1:
            self._head(file)
        if not wanted.paths:
            sys.stdout.writelines(f"{line}\n" for line in printer.lines(headings=wanted.meta is not False))
            return
        begun = wanted.heading != 2
        for line in self._found(file, printer):
            if not begun:
                self._head(file)
                begun = True
            sys.stdout.write(f"{line}\n")

    def _head(self, file: DumpFile) -> None:
        of = f"{self.count}/{self.wanted.files}" if self.wanted.heading == 1 and self.wanted.files else str(self.count)
        gap = "\n" if self.count > 1 else ""
        sys.stdout.write(f"{gap}# dcmdump ({of}): {escape(file.path)}\n")

    def _found(self, file: DumpFile, printer: Printer) -> Iterator[str]:
        charset = character_set(self.wanted.look.charset)
        for path in self.wanted.paths:
            parts: tuple[tuple[list[Node], Bytes], ...] = ((file.meta, file.raw), (file.nodes, file.data))
            found = ((hit, data) for nodes, data in parts for hit in search(nodes, data, path, charset))
            for hit, data in found:
                prefix = "".join(f"{tag_text(tag)}." for tag in hit.path) if self.wanted.prepend else ""
                yield from printer.shown(hit.node, prefix, data, hit.charset)
                if self.wanted.first:
                    break


class Json(Writer):
    """An array of objects of the DICOM JSON model (PS3.18 F)."""

    def write(self, file: DumpFile) -> None:
        sys.stdout.write(("[\n" if self.count == 1 else ",\n") + self.text(file))

    def text(self, file: DumpFile) -> str:
        """One object on one line."""
        from dcmkit.dataset.json_model import to_json

        data_set, model = self.model(file)
        return json_text(to_json(data_set, bulk_data=model.bulk_data))

    def close(self) -> None:
        sys.stdout.write("\n]\n" if self.count else "[]\n")


class JsonLines(Json):
    """One object on each line."""

    def write(self, file: DumpFile) -> None:
        sys.stdout.write(self.text(file) + "\n")

    def close(self) -> None:
        pass


class NativeXml(Writer):
    """The native DICOM model (PS3.19 A.1)."""

    def write(self, file: DumpFile) -> None:
        from dcmkit.dataset.xml_model import to_native_xml

        if self.count > 1:
            raise UsageError("an XML document holds one data set", hint="dump files one by one, or use jsonl")
        data_set, model = self.model(file)
        self.put(to_native_xml(data_set, bulk_data=model.bulk_data))

    @staticmethod
    def put(text: str) -> None:
        """XML without anything a terminal obeys."""
        sys.stdout.write(text if text.isascii() else _HIDDEN.sub(lambda match: f"&#{ord(match[0])};", text))


class DcmtkXml(NativeXml):
    """As dcm2xml does."""

    def write(self, file: DumpFile) -> None:
        from dcmkit.dataset.xml_model import to_dcm2xml

        if self.count > 1:
            raise UsageError("an XML document holds one data set", hint="dump files one by one, or use jsonl")
        self.put(to_dcm2xml(self.model(file)[0], file.transfer_syntax_uid))


class Csv(Writer):
    """A row for each element."""

    columns = ("file", "path", "tag", "vr", "length", "vm", "name", "value")

    def __init__(self, wanted: Wanted) -> None:
        import csv

        super().__init__(wanted)
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._csv.writerow(self.columns)

    def write(self, file: DumpFile) -> None:
        printer = Printer(file, self.wanted.look)
        charset = character_set(self.wanted.look.charset)
        if self.wanted.meta:
            self._rows(file, printer, file.meta, file.raw, charset, "")
        self._rows(file, printer, self.wanted.choice.of(file.nodes), file.data, charset, "")

    def _rows(
        self, file: DumpFile, printer: Printer, nodes: list[Node], data: Bytes, charset: CharacterSet, path: str
    ) -> None:
        charset = declared(nodes, data, charset)
        for node in nodes:
            name = path + tag_text(node.tag)
            length = "" if node.length == 0xFFFFFFFF else node.length
            head = escape(file.path), name, tag_text(node.tag), node.vr, length
            if node.kind == SEQUENCE:
                self._csv.writerow((*head, len(node.children), printer.name(node), ""))
                for at, item in enumerate(node.children):
                    self._rows(file, printer, item.children, data, charset, f"{name}[{at}].")
                continue
            shown = printer.whole(node, data, charset)
            self._csv.writerow((*head, shown.vm, printer.name(node), shown.text))


WRITERS: dict[str, type[Writer]] = {
    "text": Text,
    "json": Json,
    "jsonl": JsonLines,
    "xml": NativeXml,
    "dcm2xml": DcmtkXml,
    "csv": Csv,
}
"""By the name of the format."""

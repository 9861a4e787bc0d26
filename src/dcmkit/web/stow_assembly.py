"""Instances that come as metadata and bulk data (PS3.18 10.5.2, 8.7.3): put together, their pixels never in memory.

The parts with bulk data wait in one file without a name; metadata refers to them by their Content-Location, and to
nothing else: no reference is ever followed to anywhere.
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from dcmkit.archive import disk
from dcmkit.dataset.elements import BYTES_VRS, DataSet, Element, encode, text
from dcmkit.dataset.json_model import from_json
from dcmkit.dataset.part10 import FileHeader, read_at
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET
from dcmkit.deid.unnamed import UnnamedFile
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, is_encapsulated, is_uid
from dcmkit.web.media_types import MediaType, MediaTypeError, parse_media_type
from dcmkit.web.multipart import BodyTooLargeError
from dcmkit.web.negotiation import DICOM_JSON, DICOM_XML
from dcmkit.web.store_metadata import METADATA_LIMIT, parse_json, parse_xml
from dcmkit.web.store_pixels import Frame, described, transfer_syntax_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcmkit.services.storage import Destination
    from dcmkit.web.multipart import PartBegan

IN_MEMORY = 64 << 20
"""Bytes of bulk data within sequences, of one request."""
_BLOCK = 1 << 20
_LONGEST = 0xFFFFFFFE
_PIXEL_DATA = 0x7FE00010
_SOP_CLASS_UID, _SOP_INSTANCE_UID = 0x00080016, 0x00080018
_NAME = re.compile("[0-9A-Fa-f]{8}")
_FRAMES = re.compile(r"(.+)/frames/([0-9]{1,9})")
_FIRST = 0x00080000
"""Below it are command and file meta information, which are no part of a data set (PS3.5 7.1)."""


class Bulk(NamedTuple):
    """A part with bulk data, and where it waits."""

    media_type: MediaType
    offset: int
    length: int


class Assembled(NamedTuple):
    """An instance as it is stored.

    Attributes:
        header: what stands before it in a file.
        pieces: of its data set.
    """

    header: FileHeader
    pieces: Iterator[bytes]


class Parts:
    """The parts of a body, metadata and bulk data apart.

    Args:
        destination: where the instances are going to; bulk data waits in the same file system where that is known.
        media_type: of metadata.
    """

    def __init__(self, destination: Destination, media_type: str) -> None:
        self._media_type = media_type
        self._file = _file_beside(destination)
        self._size = 0
        self._metadata: bytearray | None = None
        self._documents: list[bytes] = []
        self._bulk: dict[str, list[Bulk]] = {}
        self._frames: dict[str, dict[int, Bulk]] = {}
        self._begun: tuple[MediaType, tuple[str, ...], int] | None = None
        self._in_memory = 0

    def close(self) -> None:
        """What waits goes."""
        self._file.close()

    def begin(self, part: PartBegan | None) -> None:
        """A part begins; None is one of metadata."""
        self._metadata = self._begun = None
        try:
            media_type = parse_media_type(part.content_type) if part is not None else MediaType(self._media_type, {})
        except MediaTypeError:
            media_type = MediaType("application/octet-stream", {})
        if media_type.name in (DICOM_JSON, DICOM_XML):
            self._metadata = bytearray()
            self._media_type = media_type.name
        elif part is not None:
            places = part.headers.get("content-location", "").strip(), part.headers.get("content-id", "").strip()
            cid = f"cid:{places[1].strip('<>')}" if places[1] else ""
            self._begun = media_type, tuple(filter(None, (places[0], cid))), self._size

    def write(self, view: memoryview) -> None:
        """Bytes of the part. Raises: BodyTooLargeError, OutputError."""
        if self._metadata is not None:
            if len(self._metadata) + len(view) > METADATA_LIMIT:
                raise BodyTooLargeError(f"metadata of more than {METADATA_LIMIT} bytes")
            self._metadata += view
        elif self._begun is not None:
            try:
                self._file.write([view])
            except OSError as error:
                raise disk.output_error(error) from None
            self._size += len(view)

    def end(self) -> None:
        """The part is complete."""
        if self._metadata is not None:
            self._documents.append(bytes(self._metadata))
        elif self._begun is not None:
            media_type, places, start = self._begun
            found = Bulk(media_type, start, self._size - start)
            for place in dict.fromkeys(form for one in places for form in (one, _path(one))):
                frame = _FRAMES.fullmatch(place)
                if frame is not None:
                    self._frames.setdefault(frame[1], {})[int(frame[2])] = found
                self._bulk.setdefault(place, []).append(found)
        self._metadata = self._begun = None

    def objects(self) -> Iterator[object]:
        """The metadata of each instance. Raises: InvalidDataSetError, where it is none."""
        for document in self._documents:
            yield from parse_json(document) if self._media_type == DICOM_JSON else parse_xml(document)

    # --- what metadata refers to ------------------------------------------------------------------------------------

    def find(self, uri: str) -> list[Bulk]:
        """The parts that a BulkDataURI means: one, or one for each frame.

        Raises:
            InvalidDataSetError: there is none.
        """
        for place in (uri, _path(uri)):
            if place in self._bulk:
                return self._bulk[place]
            if place in self._frames:
                frames = self._frames[place]
                return [frames[number] for number in sorted(frames)]
        raise InvalidDataSetError("the metadata refers to bulk data that is not in the request")

    def small(self, uri: str) -> bytes:
        """A value that is kept in memory. Raises: InvalidDataSetError."""
        found = self.find(uri)
        self._in_memory += sum(bulk.length for bulk in found)
        if self._in_memory > IN_MEMORY:
            raise InvalidDataSetError(f"there is bulk data of more than {IN_MEMORY} bytes within sequences")
        return b"".join(block for bulk in found for block in self.read(bulk))

    def read(self, bulk: Bulk, start: int = 0) -> Iterator[bytes]:
        """Its bytes. Raises: OSError."""
        for at in range(bulk.offset + start, bulk.offset + bulk.length, _BLOCK):
            yield read_at(self._file.fd, min(_BLOCK, bulk.offset + bulk.length - at), at)

    def frame(self, bulk: Bulk) -> Frame:
        """What a frame says of itself. Raises: InvalidDataSetError."""
        found: list[Frame] = []

        def look(content: memoryview, _: object) -> None:
            with content[bulk.offset : bulk.offset + bulk.length] as view:
                found.append(transfer_syntax_of(bulk.media_type, view))

        if not bulk.length:
            raise InvalidDataSetError("a frame without content")
        self._file.show(look)
        return found[0]


def _path(uri: str) -> str:
    """A reference without what it is relative to: servers and clients do not always write the same."""
    if uri.startswith("cid:"):
        return uri
    try:
        return unquote(urlsplit(uri).path).lstrip("./")
    except ValueError:
        return uri


def _file_beside(destination: Destination) -> UnnamedFile:
    try:
        new_file = getattr(destination, "new_file", None)
        if new_file is not None:
            made: UnnamedFile = new_file()
            return made
        temporary = getattr(destination, "temporary", None)
        if temporary is not None:
            return UnnamedFile(temporary(), mode=0o600)
        from tempfile import gettempdir

        return UnnamedFile(os.path.join(gettempdir(), f"dcmkit-{os.urandom(8).hex()}"), mode=0o600)
    except OSError as error:
        raise disk.output_error(error) from None


# --- putting together ------------------------------------------------------------------------------------------------


def identified(found: object) -> tuple[str, str]:
    """SOP Class and Instance UID of an instance's metadata, "" where it has none."""
    uids = []
    for tag in ("00080016", "00080018"):
        attribute = found.get(tag) if isinstance(found, dict) else None
        values = attribute.get("Value") if isinstance(attribute, dict) else None
        uid = values[0] if isinstance(values, list) and values else ""
        uids.append(uid if isinstance(uid, str) and is_uid(uid) else "")
    return uids[0], uids[1]


def assemble(found: object, parts: Parts) -> Assembled:
    """An instance from its metadata.

    Raises:
        InvalidDataSetError: it is none, or its bulk data is missing.
        TransferSyntaxNotSupportedError: nobody knows how its pixels are encoded.
    """
    small, large = _apart(found)
    data_set = {tag: one for tag, one in from_json(small, bulk_data=parts.small).items() if tag >= _FIRST}
    syntax, values = EXPLICIT_VR_LITTLE_ENDIAN, {}
    for tag, (vr, uri) in large.items():
        bulk = parts.find(uri)
        values[tag] = _native(tag, vr, bulk, parts)
        if tag == _PIXEL_DATA and _is_encapsulated(bulk[0].media_type):
            frame = parts.frame(bulk[0])
            syntax = frame.transfer_syntax
            data_set = described(data_set, frame, len(bulk))
            values[tag] = _encapsulated(bulk, frame.start, parts)
    header = FileHeader(text(data_set, _SOP_CLASS_UID), text(data_set, _SOP_INSTANCE_UID), syntax, 0, 0)
    return Assembled(header, _pieces(data_set, values))


def _apart(found: object) -> tuple[object, dict[int, tuple[str, str]]]:
    """The metadata without what may be large: values of bytes that are elsewhere, with their VRs and places."""
    large: dict[int, tuple[str, str]] = {}
    if not isinstance(found, dict):
        return found, large
    small = {}
    for name, attribute in found.items():
        uri = attribute.get("BulkDataURI") if isinstance(attribute, dict) and len(attribute) == 2 else None
        vr = attribute.get("vr") if uri else None
        if isinstance(uri, str) and isinstance(vr, str) and vr in BYTES_VRS and _NAME.fullmatch(name):
            large[int(name, 16)] = vr, uri
        else:
            small[name] = attribute
    return small, {tag: large[tag] for tag in sorted(large) if tag >= _FIRST and tag & 0xFFFF}


def _pieces(data_set: DataSet, values: dict[int, Iterator[bytes]]) -> Iterator[bytes]:
    """The data set with the large values at their places."""
    data_set, charset = _encodable(data_set)
    own = {SPECIFIC_CHARACTER_SET: data_set[SPECIFIC_CHARACTER_SET]} if charset else {}
    repeated = len(encode(own, EXPLICIT_VR_LITTLE_ENDIAN))
    written = 0
    for tag in (*values, 1 << 32):
        between = {one: data_set[one] for one in data_set if written <= one < tag and one not in values}
        if between:
            first = SPECIFIC_CHARACTER_SET in between
            yield encode({**own, **between}, EXPLICIT_VR_LITTLE_ENDIAN)[0 if first else repeated :]
        if tag in values:
            yield from values[tag]
        written = tag


def _encodable(data_set: DataSet) -> tuple[DataSet, str]:
    """The data set with a character set that holds its text, and that (PS3.18 F.2: JSON itself is Unicode)."""
    try:
        encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN)
    except UnicodeEncodeError:
        data_set = _without_charset(data_set)
        data_set[SPECIFIC_CHARACTER_SET] = Element("CS", "ISO_IR 192")
    return data_set, text(data_set, SPECIFIC_CHARACTER_SET)


def _without_charset(data_set: DataSet) -> DataSet:
    return {
        tag: Element(vr, [_without_charset(item) for item in value]) if isinstance(value, list) else Element(vr, value)
        for tag, (vr, value) in data_set.items()
        if tag != SPECIFIC_CHARACTER_SET
    }


def _is_encapsulated(media_type: MediaType) -> bool:
    syntax = media_type.parameters.get("transfer-syntax", "")
    return media_type.name.startswith(("image/", "video/")) or (is_uid(syntax) and is_encapsulated(syntax))


def _native(tag: int, vr: str, bulk: list[Bulk], parts: Parts) -> Iterator[bytes]:
    length = sum(one.length for one in bulk)
    if length > _LONGEST - 1:
        raise InvalidDataSetError("a value is longer than it can be", offending_element=tag)
    return _joined(struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length + length % 2), bulk, parts)


def _joined(head: bytes, bulk: list[Bulk], parts: Parts) -> Iterator[bytes]:
    yield head
    for one in bulk:
        yield from parts.read(one)
    if sum(one.length for one in bulk) % 2:
        yield b"\0"


def _encapsulated(bulk: list[Bulk], start: int, parts: Parts) -> Iterator[bytes]:
    """Pixel data with a fragment for each frame, and where they are (PS3.5 A.4)."""
    if any(one.length - start > _LONGEST - 1 for one in bulk):
        raise InvalidDataSetError("a frame is longer than a fragment can be", offending_element=_PIXEL_DATA)
    return _fragments(bulk, start, parts)


def _fragments(bulk: list[Bulk], start: int, parts: Parts) -> Iterator[bytes]:
    offsets, at = [], 0
    for one in bulk:
        offsets.append(at)
        at += 8 + one.length - start + (one.length - start) % 2
    table = struct.pack(f"<{len(bulk)}I", *offsets) if len(bulk) > 1 and offsets[-1] <= _LONGEST else b""
    yield struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    yield struct.pack("<HHI", 0xFFFE, 0xE000, len(table)) + table
    for one in bulk:
        length = one.length - start
        yield struct.pack("<HHI", 0xFFFE, 0xE000, length + length % 2)
        yield from parts.read(one, start)
        if length % 2:
            yield b"\0"
    yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

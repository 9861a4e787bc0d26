"""Retrieve bulk data and pixel data (PS3.18 10.4.1.1.5): values as they lie in their files, or frames of images.

A BulkDataURI names one value: `…/instances/{}/bulkdata/7FE00010`, or within sequences, with numbers of items counted
from 1, `…/bulkdata/54000100/1/54001010`. Encapsulated pixel data comes in parts, one for each frame (PS3.18 8.7.3.5.2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.element_path import Placed, bulk_elements, find, parse_path
from dcmkit.dataset.json_header import Mapped, bulk_path, mapped
from dcmkit.dataset.raw import Encoding, encoding_of, guess
from dcmkit.dataset.recode import WORDS, swapped
from dcmkit.errors import DcmkitError
from dcmkit.web.exchange import BLOCK, FileSlice, GoneError, NotFoundError, Reply, Request, Rope, read_slice
from dcmkit.web.framing import Frames, as_stored, chosen, is_as_stored, recoder
from dcmkit.web.image_cache import ImageCache, blaming_object
from dcmkit.web.metadata import instance_url
from dcmkit.web.multipart import MultipartWriter, lay_out, make_boundary
from dcmkit.web.negotiation import FRAME_TYPES, OCTETS, Choice, NotAcceptableError, bulk_data_offers, select
from dcmkit.web.resources import etag_of, instances_of
from dcmkit.web.routes import Route

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive

Contents = tuple[bytes | FileSlice, ...]
Bytes = Callable[[], Iterator[bytes]]

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_DOCUMENT, _DOCUMENT_LENGTH, _MIME_TYPE = 0x00420011, 0x00420015, 0x00420012
_MEDIA_TYPE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,60}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,60}")


class _Part(NamedTuple):
    """One value, or one frame.

    Attributes:
        contents: where it lies; or what makes it.
        length: of it; None where that is known only when it is made.
        syntax: the transfer syntax of a frame.
    """

    media_type: str
    location: str
    contents: Contents | Bytes
    length: int | None
    syntax: str = ""

    @property
    def head(self) -> dict[str, str]:
        """Its header."""
        return {"Content-Type": self.content_type, "Content-Location": self.location}

    @property
    def content_type(self) -> str:
        """Of it alone."""
        return Choice(self.media_type, self.syntax, False).part_type()


class BulkData:
    """The transactions on one archive.

    Args:
        images: open ones, shared with others who show them.
        key: what boundaries come from; the same for all processes of a server, so that ranges fit together.
    """

    def __init__(self, archive: Archive, images: ImageCache | None = None, *, key: bytes = b"") -> None:
        self._archive = archive
        self._images = images if images is not None else ImageCache()
        self._key = key or os.urandom(32)
        self._frames = Frames(archive, self._images, key=self._key)

    def routes(self) -> tuple[Route, ...]:
        """What is answered here."""
        produces = (OCTETS, *FRAME_TYPES)
        statuses = {410: "the files have gone"}
        levels = ((STUDY, "Study", "a study"), (SERIES, "Series", "a series"), (INSTANCE, "Instance", "an instance"))
        routes = [
            Route("GET", INSTANCE + "/bulkdata/{path:rest}", self.one, ("retrieve",), "retrieveBulkdata",
                  "one value of an instance, as its metadata refers to it", "Retrieve", produces=produces,
                  statuses=statuses)
        ]  # fmt: skip
        for path, name, what in levels:
            routes += [
                Route("GET", path + "/bulkdata", self.everything, ("retrieve",), f"retrieve{name}Bulkdata",
                      f"all bulk data of {what}", "Retrieve", produces=produces, statuses=statuses),
                Route("GET", path + "/pixeldata", self.pixels, ("retrieve",), f"retrieve{name}PixelData",
                      f"all pixel data of {what}", "Retrieve", produces=produces, statuses=statuses),
            ]  # fmt: skip
        return tuple(routes)

    def close(self) -> None:
        """Close what stayed open."""
        self._images.close()

    # --- one value -----------------------------------------------------------------------------------------------

    def one(self, request: Request) -> Reply:
        """The value that a BulkDataURI names."""
        instance = instances_of(self._archive, request)[0]
        path = parse_path(request.variables.get("path", "").rstrip("/"))
        if path is None:
            raise NotFoundError("there is no such value", hint="URLs of bulk data are in the metadata")
        with blaming_object(), _opened(instance) as opened:
            placed = find(opened.data, opened.start, opened.end, _encoding(opened, instance), path)
            if placed is None or (placed.vr not in WORDS and placed.vr not in ("OB", "UN")):
                raise NotFoundError("there is no such bulk data in the instance")
            if placed.in_fragments:
                return self._frames.retrieve(request._replace(variables=_without_path(request)))
            part = _value(instance, request.base_url, placed, opened)
        try:
            choice = select(bulk_data_offers(part.media_type), *request.accept)
        except NotAcceptableError:
            if path[0] not in PIXELS:
                raise
            return self._frames.retrieve(request._replace(variables=_without_path(request)))
        etag = etag_of([instance], "bulkdata", bulk_path(path), *map(str, choice))
        request.unless_known(etag)
        part = part._replace(media_type=choice.media_type)
        if choice.multipart:
            return self._reply([part], choice.media_type, etag)
        headers = (("Content-Location", part.location),)
        if callable(part.contents):
            return Reply(200, part.contents(), part.content_type, headers, etag, part.length)
        return Reply(200, Rope(part.contents), part.content_type, headers, etag)

    # --- all of them ---------------------------------------------------------------------------------------------

    def everything(self, request: Request) -> Reply:
        """All bulk data of a study, a series or an instance."""
        return self._all(request, "bulkdata")

    def pixels(self, request: Request) -> Reply:
        """Their pixel data."""
        return self._all(request, "pixeldata")

    def _all(self, request: Request, what: str) -> Reply:
        instances = instances_of(self._archive, request)
        etag = etag_of(instances, what, str(request.accept))
        request.unless_known(etag)
        parts: list[_Part] = []
        gone = unusable = refused = 0
        for instance in instances:
            try:
                with blaming_object():
                    parts += self._parts(instance, request, what == "pixeldata")
            except GoneError:
                gone += 1
            except NotAcceptableError:
                refused += 1
            except DcmkitError:
                unusable += 1
        if not parts:
            self._nothing(gone, refused, unusable, len(instances))
        reply = self._reply(parts, _common_type(parts), etag if not gone else "")
        counts = ((gone, "have gone"), (unusable, "cannot be read"), (refused, "are in no acceptable media type"))
        left_out = ", ".join(f"{count} instances {why}" for count, why in counts if count)
        if left_out:
            from dcmkit.web.exchange import warning_header

            reply = reply._replace(headers=(("Warning", warning_header(request.base_url, left_out)),))
        return reply

    def _nothing(self, gone: int, refused: int, unusable: int, count: int) -> None:
        """Say why there are no parts."""
        if gone == count:
            raise GoneError("the files have gone from the archive", hint="dcmkit index check finds such")
        if refused or unusable:
            raise NotAcceptableError("nothing of it can be sent in a media type that is accepted")
        raise NotFoundError("there is no such bulk data")

    def _parts(self, instance: Located, request: Request, pixels_only: bool) -> list[_Part]:
        """The parts of an instance. Raises: DcmkitError."""
        parts: list[_Part] = []
        refused = None
        with _opened(instance) as opened:
            encoding = _encoding(opened, instance)
            wanted = PIXELS if pixels_only else frozenset()
            for placed in bulk_elements(opened.data, opened.start, opened.end, encoding, wanted):
                try:
                    if placed.in_fragments:
                        parts += self._frame_parts(instance, request)
                        continue
                    part = _value(instance, request.base_url, placed, opened)
                    choice = select(bulk_data_offers(part.media_type, one=False), *request.accept)
                    parts.append(part._replace(media_type=choice.media_type))
                except NotAcceptableError as error:
                    refused = error
        if refused is not None and not parts:
            raise refused
        return parts

    def _frame_parts(self, instance: Located, request: Request) -> Iterator[_Part]:
        """The frames of an image, one by one, or the stream of a video."""
        with self._images.lend(instance) as image:
            choice = chosen(image, False, *request.accept)
            stored = is_as_stored(image, choice.transfer_syntax)
            if not stored:
                recoder(image, choice.transfer_syntax)  # or say why not
            for index in range(1 if image.is_video else image.number_of_frames):
                location = f"{instance_url(instance, request.base_url)}/frames/{index + 1}"
                contents = as_stored(image, index) if stored else self._made(instance, choice, index)
                length = Rope(contents).length if isinstance(contents, tuple) else None
                yield _Part(choice.media_type, location, contents, length, choice.transfer_syntax)

    def _made(self, instance: Located, choice: Choice, index: int) -> Bytes:
        """What makes a frame, when its turn comes."""

        def make() -> Iterator[bytes]:
            with self._images.lend(instance) as image, blaming_object():
                yield bytes(recoder(image, choice.transfer_syntax)(index).data)

        return make

    # --- answering -----------------------------------------------------------------------------------------------

    def _reply(self, parts: list[_Part], media_type: str, etag: str) -> Reply:
        boundary = make_boundary(self._key, etag, *(part.location for part in parts))
        content_type = Choice(media_type, "", True).content_type(boundary)
        laid_out: list[tuple[dict[str, str], int, Contents]] = []
        for part in parts:
            if callable(part.contents):
                return Reply(200, _begun(_stream(parts, boundary)), content_type, (), etag, _length(parts, boundary))
            laid_out.append((part.head, part.length or 0, part.contents))
        pieces: list[bytes | FileSlice] = lay_out(boundary, laid_out)[0]
        return Reply(200, Rope(tuple(pieces)), content_type, (), etag)


def _without_path(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.variables.items() if name != "path"}


def _common_type(parts: list[_Part]) -> str:
    """What all parts are, or octets."""
    found = {part.media_type for part in parts}
    return found.pop() if len(found) == 1 else OCTETS


def _length(parts: Iterable[_Part], boundary: str) -> int | None:
    """Of a body that is made on the way, where that of each part is known."""
    writer, length = MultipartWriter(boundary), 0
    for part in parts:
        if part.length is None:
            return None
        length += len(writer.head(part.head, part.length)) + part.length
    return length + len(writer.end())


def _stream(parts: Iterable[_Part], boundary: str) -> Iterator[bytes]:
    writer = MultipartWriter(boundary)
    for part in parts:
        if callable(part.contents) and part.length is None:
            content = b"".join(part.contents())  # a frame
            yield writer.head(part.head, len(content))
            yield content
            continue
        yield writer.head(part.head, part.length)
        yield from part.contents() if callable(part.contents) else _read(part.contents)
    yield writer.end()


def _begun(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same, where its beginning can be made: what cannot is refused rather than cut off. Raises: DcmkitError."""
    first = next(stream, b"")

    def whole() -> Iterator[bytes]:
        yield first
        yield from stream

    return whole()


def _read(contents: Contents) -> Iterator[bytes]:
    """Bytes, and slices of files in blocks. Raises: GoneError, OutputError."""
    for piece in contents:
        yield from read_slice(piece) if isinstance(piece, FileSlice) else (piece,)


# --- values ------------------------------------------------------------------------------------------------------


def _opened(instance: Located) -> Mapped:
    """The data set of an instance in memory. Raises: GoneError, InvalidDataSetError."""
    try:
        with open(instance.path, "rb", buffering=0) as file:
            return mapped(file, instance.offset, instance.transfer_syntax_uid)
    except (OSError, ValueError):
        raise GoneError("a file has gone from the archive", hint="dcmkit index check finds such") from None


def _encoding(opened: Mapped, instance: Located) -> Encoding:
    view = memoryview(opened.data)
    return guess(view, opened.start, opened.end, encoding_of(instance.transfer_syntax_uid))


def _value(instance: Located, base_url: str, placed: Placed, opened: Mapped) -> _Part:
    """A value of defined length."""
    location = f"{instance_url(instance, base_url)}/bulkdata/{bulk_path(placed.path)}"
    start, length = placed.element.value_start, placed.element.length
    media_type = OCTETS
    if placed.path == (_DOCUMENT,):
        media_type, length = _document(opened, _encoding(opened, instance), length)
    width = WORDS.get(placed.vr, 1) if placed.encoding.big_endian else 1
    if width == 1 and not opened.inflated:
        return _Part(media_type, location, (FileSlice(instance.path, start, length),), length)

    def make() -> Iterator[bytes]:
        with _opened(instance) as again:
            for at in range(start, start + length, BLOCK):
                block = again.data[at : min(at + BLOCK, start + length)]
                yield swapped(block, width) if width > 1 else block

    return _Part(media_type, location, make, length)


def _document(opened: Mapped, encoding: Encoding, length: int) -> tuple[str, int]:
    """Media type and length, without padding, of an encapsulated document (PS3.3 C.24.2)."""
    found = find(opened.data, opened.start, opened.end, encoding, (_MIME_TYPE,))
    said = "" if found is None else _bytes(opened, found).decode("latin-1").strip(" \0")
    media_type = said.lower() if _MEDIA_TYPE.fullmatch(said) and not said.lower().startswith("multipart/") else OCTETS
    found = find(opened.data, opened.start, opened.end, encoding, (_DOCUMENT_LENGTH,))
    if found is not None and found.element.length == 4:
        true = int.from_bytes(_bytes(opened, found), "big" if encoding.big_endian else "little")
        length = true if length - 1 <= true <= length else length
    return media_type, length


def _bytes(opened: Mapped, placed: Placed) -> bytes:
    start = placed.element.value_start
    return opened.data[start : start + min(placed.element.length, 200)]

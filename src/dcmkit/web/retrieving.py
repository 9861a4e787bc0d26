"""Retrieve: whole objects of a study, a series or one instance (PS3.18 10.4), as they are or converted on the way.

What is sent as it is stored goes from its file, in one rope: known in length, with ranges, never copied. What has to be
converted is so one object at a time, into a file without a name, while what came before it is on its way.

Objects that are known to be impossible to send are left out, which the status (206) and a Warning say. An object that
turns out to be damaged only while it is converted is sent as it is stored, and its part says in which transfer syntax:
it is too late for a status by then, and nothing gets lost silently.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import DcmkitError, InputError, OutputError, UnsupportedSyntaxError
from dcmkit.logs import get_logger
from dcmkit.pixels import syntaxes
from dcmkit.uids import is_encapsulated, is_uid, name_of
from dcmkit.web.exchange import FileSlice, GoneError, Reply, Request, Rope, make_etag, warning_header
from dcmkit.web.multipart import MultipartWriter, make_boundary
from dcmkit.web.negotiation import ANY, DICOM, ZIP, Choice, NotAcceptableError, Offer, instance_offers, select
from dcmkit.web.resources import etag_of, instances_of
from dcmkit.web.routes import QueryParameter, Route
from dcmkit.web.zip_stream import Entry, length_of, stream

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive

log = get_logger("web")

BLOCK = 1 << 20
_KEY = secrets.token_bytes(32)
_META = 132
"""Bytes of preamble and prefix; a file whose data set begins before these has neither, nor file meta information."""
_LONGEST_NATIVE = 0xFFFFFFFE
"""Bytes that Pixel Data can have in a native transfer syntax (PS3.5 7.1)."""
_ATTEMPTS = 4
"""Transfer syntaxes that are tried, where several are accepted."""
_ANY_SYNTAX = re.compile(r'transfer-syntax="?\*')
_REASONS = 3
"""Reasons that a Warning tells."""

_ACCEPT = QueryParameter("accept", "media types that are accepted, in place of the Accept header")
_CHARSET = QueryParameter("charset", "character sets that are accepted; objects are sent in their own")
_DICOMDIR = QueryParameter(
    "dicomdir", "a zip archive that is a file-set: short names, and a DICOMDIR", "string", ("true", "false")
)
_STATUSES = {
    206: "some of the instances cannot be sent; a Warning says how many, and why",
    304: "what the user agent has is still right",
    410: "all the files have gone from the archive",
}


class Item(NamedTuple):
    """An instance that is going to be sent.

    Attributes:
        size: of its file.
        transfer_syntax_uid: in which it is sent.
    """

    located: Located
    size: int
    transfer_syntax_uid: str

    @property
    def as_stored(self) -> bool:
        """Whether its file is sent as it is."""
        return self.transfer_syntax_uid == self.located.transfer_syntax_uid

    @property
    def meta(self) -> bytes:
        """What is to be put before its file: file meta information, for one that has none."""
        one = self.located
        if one.offset >= _META:
            return b""
        return file_meta(one.sop_class_uid, one.instance, one.transfer_syntax_uid)

    @property
    def stored_size(self) -> int:
        """Bytes of it as it is stored."""
        return len(self.meta) + self.size - (self.located.offset if self.meta else 0)


class Planned(NamedTuple):
    """What is sent of a resource, and what is not: why, for each that is not."""

    items: list[Item]
    gone: int
    refused: list[str]

    @property
    def missing(self) -> int:
        """How many instances are left out."""
        return self.gone + len(self.refused)

    @property
    def all_as_stored(self) -> bool:
        """Whether nothing is converted."""
        return all(item.as_stored for item in self.items)

    def warning(self) -> str:
        """What is left out, in words."""
        reasons = [f"{self.gone} have gone from the archive"] if self.gone else []
        reasons += list(dict.fromkeys(self.refused))[:_REASONS]
        total = len(self.items) + self.missing
        return f"{self.missing} of {total} instances are left out: {'; '.join(reasons)}"


class Object(NamedTuple):
    """An object about to be sent: bytes of `meta`, then those of an open file from where it stands."""

    transfer_syntax_uid: str
    sop_instance_uid: str
    meta: bytes
    descriptor: int
    rest: int

    @property
    def length(self) -> int:
        """Of all of it."""
        return len(self.meta) + self.rest

    def blocks(self) -> Iterator[bytes]:
        """Its bytes; the file is closed at their end, or when they are not wanted any more. Raises: OutputError."""
        try:
            if self.meta:
                yield self.meta
            left = self.rest
            while left:
                block = os.read(self.descriptor, min(left, BLOCK))
                if not block:
                    raise OutputError("a file became shorter while it was sent")
                left -= len(block)
                yield block
        except OSError as error:
            raise OutputError(f"a file cannot be read while it is sent: {error.strerror}") from None
        finally:
            os.close(self.descriptor)


class Retrieving:
    """The retrieve transactions for objects.

    Args:
        key: what makes boundaries unpredictable; several processes that answer in turn have to have the same.
    """

    def __init__(self, archive: Archive, *, key: bytes = b"") -> None:
        self._archive = archive
        self._key = key or _KEY

    def routes(self) -> tuple[Route, ...]:
        """What is answered."""
        return tuple(
            Route(
                "GET", template, self.retrieve, ("retrieve",), f"retrieve{name}",
                f"Retrieve {words}: the objects themselves", "Retrieve", (_ACCEPT, _CHARSET, _DICOMDIR),
                produces=(f'multipart/related; type="{DICOM}"', *((DICOM,) if name == "Instance" else ()), ZIP),
                statuses=_STATUSES,
            )
            for template, name, words in (
                ("/studies/{study}", "Study", "a study"),
                ("/studies/{study}/series/{series}", "Series", "a series"),
                ("/studies/{study}/series/{series}/instances/{instance}", "Instance", "an instance"),
            )
        )  # fmt: skip

    def retrieve(self, request: Request) -> Reply:
        """Answer one of the routes.

        Raises:
            NotFoundError, ForbiddenError: as `resources.instances_of`.
            NotAcceptableError: no media type that is accepted can be made, or no instance be had in it.
            GoneError: there is no file any more.
            OutputError: something cannot be converted for want of room.
        """
        instances = instances_of(self._archive, request)
        directory = (request.parameter("dicomdir") or "").lower() in ("true", "yes", "1")
        version = etag_of(instances)
        refused: dict[str, NotAcceptableError] = {}
        while len(refused) < _ATTEMPTS:
            try:
                choice = choose(instances, request, directory=directory, without=refused)
            except NotAcceptableError as error:
                raise next(iter(refused.values()), error) from None
            try:
                return self._chosen(request, instances, choice, version, directory=directory)
            except NotAcceptableError as error:  # the next best of what is accepted (PS3.18 8.7.8.1)
                if choice.transfer_syntax in refused:
                    raise
                refused[choice.transfer_syntax] = error
        raise next(iter(refused.values()))

    def _chosen(
        self, request: Request, instances: list[Located], choice: Choice, version: str, *, directory: bool
    ) -> Reply:
        boundary = make_boundary(self._key, version) if choice.multipart else ""
        etag = make_etag(version, request.base_url, choice.media_type, choice.transfer_syntax, boundary, int(directory))
        request.unless_known(etag)
        planned = plan(instances, choice.transfer_syntax)
        reply = self._reply(request, choice, planned, boundary, directory=directory)
        if not planned.missing:
            return reply._replace(etag=etag)
        warning = ("Warning", warning_header(request.base_url, planned.warning()))
        return reply._replace(status=206, headers=(*reply.headers, warning))  # PS3.18 Table 10.4.3-1

    def _reply(self, request: Request, choice: Choice, planned: Planned, boundary: str, *, directory: bool) -> Reply:
        if choice.media_type == ZIP:
            return _zipped(request, planned, directory=directory)
        if not choice.multipart:
            return _single(request, planned.items[0])
        content_type = choice.content_type(boundary)
        addresses = Addresses(request)
        if planned.all_as_stored:
            return Reply(200, _rope(planned.items, boundary, addresses), content_type)
        return Reply(200, _parts(planned.items, boundary, addresses), content_type)


# --- what is sent ------------------------------------------------------------------------------------------------


@cache
def _encodable() -> tuple[str, ...]:
    """The transfer syntaxes that objects can be converted into here."""
    from dcmkit.pixels.codecs import available

    return tuple(one.transfer_syntax_uid for one in available() if one.encoders)


def choose(
    instances: Sequence[Located], request: Request, *, directory: bool = False, without: Collection[str] = ()
) -> Choice:
    """The media type and transfer syntax that are sent.

    Args:
        directory: only a zip archive will do.
        without: transfer syntaxes that turned out to be impossible.

    Raises:
        MediaTypeError, NotAcceptableError: as `negotiation.select`.
    """
    has = dict.fromkeys(one.transfer_syntax_uid for one in instances)
    stored = next(iter(has)) if len(has) == 1 else ANY
    # PS3.18 8.7.3.4: Explicit VR Little Endian is the default unless there is only something that cannot be it
    default = stored if stored in syntaxes.PASSED_THROUGH else syntaxes.EXPLICIT
    one = bool(request.variables.get("instance"))
    asked = _ANY_SYNTAX.sub("", "".join(filter(None, request.accept)).lower())
    encodable = _encodable() if "transfer-syntax" in asked else ()  # which takes a while to find out
    offers = instance_offers((*encodable, *has), stored=stored, default=default, one=one)
    if without:
        offers = tuple(_without(offer, without) for offer in offers)
    if directory:
        offers = tuple(offer for offer in offers if offer.media_type == ZIP)
    return select(offers, *request.accept)


def _without(offer: Offer, syntaxes_refused: Collection[str]) -> Offer:
    left = tuple(uid for uid in offer.transfer_syntaxes if uid not in syntaxes_refused)
    return offer._replace(transfer_syntaxes=left or offer.transfer_syntaxes)


def plan(instances: Sequence[Located], transfer_syntax: str) -> Planned:
    """What is sent of `instances`, when they are wanted in `transfer_syntax` (`ANY`: each as it is stored).

    Raises:
        GoneError: there is no file any more.
        NotAcceptableError: what there is can all not be converted.
    """
    items: list[Item] = []
    gone = 0
    refused: list[str] = []
    stat = os.stat
    for one in instances:
        try:
            size = stat(one.path).st_size
        except OSError:
            gone += 1
            continue
        syntax = one.transfer_syntax_uid
        if transfer_syntax in (ANY, syntax):
            items.append(Item(one, size, syntax))
            continue
        try:
            syntax = _target(one, transfer_syntax)
        except InputError as error:
            refused.append(error.message)
        else:
            items.append(Item(one, size, syntax))
    if refused and not items:
        raise NotAcceptableError(
            f"no instance can be had in {name_of(transfer_syntax)}: {refused[0]}",
            hint="with transfer-syntax=* each comes as it is stored",
        )
    if not items:
        raise GoneError("the files have gone from the archive", hint="dcmkit index check finds such")
    return Planned(items, gone, refused)


def _target(one: Located, wanted: str) -> str:
    """The transfer syntax in which an instance is sent to who wants `wanted`.

    Raises:
        UnsupportedSyntaxError: it cannot be had in it.
        InputError: it cannot be read.
    """
    stored = one.transfer_syntax_uid
    if wanted == syntaxes.EXPLICIT and stored in syntaxes.PASSED_THROUGH:
        return stored  # PS3.18 8.7.3.4: what is there in lossy form only may be sent in it
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.services.conversion import ranked

    with ImageFile(one.path) as image:
        described = image.description
        if described is None and is_encapsulated(wanted):
            wanted = syntaxes.EXPLICIT  # reports and the like are never compressed
        elif described is not None and wanted == syntaxes.EXPLICIT and is_encapsulated(stored):
            length = (described.frame_bits * described.number_of_frames + 7) // 8
            if length > _LONGEST_NATIVE:
                return stored  # PS3.18 8.7.3.4, note 2
        if wanted != stored and not ranked(image, ((0, wanted),)):
            raise UnsupportedSyntaxError(f"from {name_of(stored)} there is no way to {name_of(wanted)}")
    return wanted


def converted(item: Item) -> Object:
    """An object in the transfer syntax in which it is to be sent. Frames are decoded under limits.

    Raises:
        InputError, OutputError: as `services.conversion.convert`.
    """
    from dcmkit.services.conversion import convert

    found = convert(item.located.path, ((0, item.transfer_syntax_uid),))
    meta = file_meta(item.located.sop_class_uid, found.sop_instance_uid, found.transfer_syntax_uid)
    return Object(found.transfer_syntax_uid, found.sop_instance_uid, meta, found.descriptor, found.length)


def stored(item: Item) -> Object:
    """An object as it is stored. Raises: GoneError, OutputError."""
    one = item.located
    try:
        descriptor = os.open(one.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise GoneError("it was deleted while it was asked for") from None
    except OSError as error:
        raise OutputError(f"a file cannot be read while it is sent: {error.strerror}") from None
    meta = item.meta
    rest = item.size
    if meta:
        os.lseek(descriptor, one.offset, os.SEEK_SET)
        rest -= one.offset
    return Object(one.transfer_syntax_uid, one.instance, meta, descriptor, rest)


def prepared(item: Item) -> Object:
    """An object as it is to be sent; as it is stored, where that turns out to be impossible. Raises: OutputError."""
    if item.as_stored:
        return stored(item)
    try:
        return converted(item)
    except InputError as error:
        log.warning("%s is sent as it is stored: %s", item.located.instance, error.message)
        return stored(item)


# --- in parts, and alone -------------------------------------------------------------------------------------------


class Addresses:
    """The URLs of instances (PS3.18 8.7.1: Content-Location), as the user agent knows the server."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._series = ("", "")
        self._base = ""

    def of(self, one: Located) -> str:
        """The URL of an instance."""
        if self._series != one[2:4] or not self._base:  # study and series
            self._series = one.study, one.series
            self._base = self._request.url("studies", one.study, "series", one.series, "instances")
        return f"{self._base}/{quote(one.instance, safe='')}"


def _part_headers(item: Item, addresses: Addresses, transfer_syntax_uid: str = "") -> dict[str, str]:
    syntax = transfer_syntax_uid or item.transfer_syntax_uid
    return {"Content-Type": part_type(syntax), "Content-Location": addresses.of(item.located)}


@cache
def part_type(transfer_syntax_uid: str) -> str:
    """The Content-Type of one object."""
    return Choice(DICOM, transfer_syntax_uid, False).part_type()


def _stored(item: Item) -> tuple[bytes | FileSlice, ...]:
    """The pieces of an object that is sent as it is stored."""
    one, meta = item.located, item.meta
    if meta:
        return meta, FileSlice(one.path, one.offset, item.size - one.offset)
    return (FileSlice(one.path, 0, item.size),)


def _rope(items: Sequence[Item], boundary: str, addresses: Addresses) -> Rope:
    """A multipart body of files as they are."""
    writer = MultipartWriter(boundary)
    pieces: list[bytes | FileSlice] = []
    for item in items:
        one, size, syntax = item
        headers = {"Content-Type": part_type(syntax), "Content-Location": addresses.of(one)}
        if one.offset >= _META:
            pieces.append(writer.head(headers, size))
            pieces.append(FileSlice(one.path, 0, size))
        else:
            pieces.append(writer.head(headers, item.stored_size))
            pieces += _stored(item)
    pieces.append(writer.end())
    return Rope(tuple(pieces))


def _parts(items: Sequence[Item], boundary: str, addresses: Addresses) -> Iterator[bytes]:
    """A multipart body of which some parts are made on the way."""
    writer = MultipartWriter(boundary)
    for item in items:
        found = prepared(item)
        blocks = Blocks(found)
        yield writer.head(_part_headers(item, addresses, found.transfer_syntax_uid), found.length)
        yield from blocks
    yield writer.end()


def _single(request: Request, item: Item) -> Reply:
    """One object without parts."""
    location = (("Content-Location", Addresses(request).of(item.located)),)
    if item.as_stored:
        return Reply(200, Rope(_stored(item)), part_type(item.transfer_syntax_uid), location)
    try:
        found = converted(item)
    except InputError as error:
        raise NotAcceptableError(error.message, hint="with transfer-syntax=* it comes as it is stored") from error
    return Reply(200, Blocks(found), part_type(found.transfer_syntax_uid), location, length=found.length)


class Blocks:
    """The blocks of an object; its file is closed even if nobody ever asks for the first."""

    def __init__(self, found: Object) -> None:
        self._found = found
        self._blocks = found.blocks()
        self._begun = False

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> bytes:
        self._begun = True
        return next(self._blocks)

    def close(self) -> None:
        """Let go of the file."""
        if not self._begun:
            self._begun = True
            os.close(self._found.descriptor)
        self._blocks.close()  # type: ignore[attr-defined]

    def __del__(self) -> None:
        self.close()


# --- zip -----------------------------------------------------------------------------------------------------------


def _zipped(request: Request, planned: Planned, *, directory: bool) -> Reply:
    """All objects in a zip archive (PS3.18 8.7.3.2, DICOM PS3.10 files; no name in it is anybody's)."""
    variables = request.variables
    name = variables.get("instance") or variables.get("series") or variables["study"]
    headers = (("Content-Disposition", f'attachment; filename="{name}.zip"'),)
    if directory:
        return Reply(200, stream(_file_set(planned.items)), ZIP, headers)
    length = None
    if planned.all_as_stored:
        length = length_of(Entry(_file_name(item.located), item.stored_size) for item in planned.items)
    return Reply(200, stream(_entries(planned.items)), ZIP, headers, length=length)


def _entries(items: Sequence[Item]) -> Iterator[Entry]:
    for item in items:
        found = prepared(item)
        one = item.located
        named = one._replace(instance=found.sop_instance_uid) if found.sop_instance_uid != one.instance else one
        yield Entry(_file_name(named), found.length, Blocks(found), one.received)


def _file_name(one: Located) -> str:
    """A name within a zip archive: of UIDs alone, and of what is no UID something harmless."""
    from dcmkit.archive.layout import MISSING, safe_component

    parts = (one.study, one.series, one.instance)
    return "/".join(part if is_uid(part) else safe_component(part) if part else MISSING for part in parts) + ".dcm"


def _file_set(items: Sequence[Item]) -> Iterator[Entry]:
    """A file-set (PS3.10 8) with its DICOMDIR at the end, when all that is in it is known."""
    from dcmkit.archive.dicomdir import NAME, Directory, FileNames, read_keys

    made, names = Directory(), FileNames()
    for item in items:
        found = prepared(item)
        one = item.located
        path = names.of(one.study, one.series)
        yield Entry("/".join(path), found.length, Blocks(found), one.received)
        try:
            keys = read_keys(one.path)
        except DcmkitError as error:
            log.warning("DICOMDIR: of %s the index alone tells: %s", one.instance, error.message)
            keys = {}
        made.add(path, one, keys, found.transfer_syntax_uid, found.sop_instance_uid)
    content = made.encode()
    yield Entry(NAME, len(content), (content,), max(item.located.received for item in items))

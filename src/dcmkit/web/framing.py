"""Retrieve frames (PS3.18 10.4.1.1.6): as they are stored, without being read, or decoded and encoded on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import UnsupportedSyntaxError, UsageError
from dcmkit.pixels import plan, syntaxes
from dcmkit.pixels.glimpse import glimpse
from dcmkit.pixels.guard import decode_guarded
from dcmkit.web.exchange import FileSlice, HttpError, NotFoundError, Reply, Request, Rope
from dcmkit.web.image_cache import ImageCache, ResultCache, blaming_object
from dcmkit.web.multipart import MultipartWriter, lay_out, make_boundary
from dcmkit.web.negotiation import FRAME_TYPES, OCTETS, Choice, frame_offers, select
from dcmkit.web.resources import etag_of, instances_of
from dcmkit.web.routes import Route

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive
    from dcmkit.pixels.description import PixelDescription
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.recoding import FrameRecoder

Contents = tuple[bytes | FileSlice, ...]

INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
LIST_LIMIT = 10_000
"""Frames that one request names."""
_AT_ONCE = 32 << 20
"""Bytes of decoded frames that are made before the answer begins, so that its length is known."""


class Frames:
    """The transaction on one archive.

    Args:
        images: open ones, shared with others who show them.
        results: what was transcoded, likewise.
        key: what boundaries come from; the same for all processes of a server, so that ranges fit together.
    """

    def __init__(
        self,
        archive: Archive,
        images: ImageCache | None = None,
        results: ResultCache | None = None,
        *,
        key: bytes = b"",
    ) -> None:
        self._archive = archive
        self._images = images if images is not None else ImageCache()
        self._results = results if results is not None else ResultCache()
        self._key = key or os.urandom(32)

    def routes(self) -> tuple[Route, ...]:
        """What it answers."""
        produces = (OCTETS, *FRAME_TYPES)
        statuses = {410: "its file has gone", 413: "too many frames"}
        return (
            Route(
                "GET", INSTANCE + "/frames/{frames}", self.retrieve, ("retrieve",), "retrieveFrames",
                "frames of an instance, counted from 1, with commas between them", "Retrieve", produces=produces,
                statuses=statuses,
            ),
            Route(
                "GET", INSTANCE + "/frames", self.retrieve, ("retrieve",), "retrieveAllFrames",
                "all frames of an instance", "Retrieve", produces=produces, statuses=statuses,
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Close what is open for the next request."""
        self._images.close()

    def retrieve(self, request: Request) -> Reply:
        """The frames that a path names."""
        instance = instances_of(self._archive, request)[0]
        wanted = request.variables.get("frames")
        if instance.frames == 1 and instance.transfer_syntax_uid == syntaxes.EXPLICIT:
            reply = self._seen(request, instance, wanted)
            if reply is not None:
                return reply
        with self._images.lend(instance) as image, blaming_object():
            numbers = frame_numbers(wanted, frame_count(image))
            choice = chosen(image, len(numbers) == 1, *request.accept)
            etag = etag_of([instance], wanted or "all", *choice)
            request.unless_known(etag)
            answer = _Answer(request, instance, choice, etag)
            if is_as_stored(image, choice.transfer_syntax):
                return self._reply(answer, numbers, [as_stored(image, number - 1) for number in numbers])
            return self._transcoded(answer, image, numbers)

    def _seen(self, request: Request, instance: Located, wanted: str | None) -> Reply | None:
        """The frame of a plain image, which need not be opened; None where it is none, or has to be encoded."""
        found = glimpse(instance.path, instance.offset, instance.size)
        if found is None:
            return None
        numbers = frame_numbers(wanted, 1)
        there = encodable(found.description, syntaxes.EXPLICIT)
        choice = _selected(syntaxes.EXPLICIT, there, len(numbers) == 1, *request.accept)
        if choice.transfer_syntax != syntaxes.EXPLICIT:
            return None
        etag = etag_of([instance], wanted or "all", *choice)
        request.unless_known(etag)
        content = (FileSlice(instance.path, found.offset, found.length),)
        return self._reply(_Answer(request, instance, choice, etag), numbers, [content] * len(numbers))

    def _reply(self, answer: _Answer, numbers: Sequence[int], contents: Sequence[Contents]) -> Reply:
        if not answer.choice.multipart:
            location = ("Content-Location", answer.location(numbers[0]))
            return Reply(body=Rope(contents[0]), content_type=answer.part_type, headers=(location,), etag=answer.etag)
        boundary = make_boundary(self._key, answer.etag)
        parts: Iterator[tuple[Mapping[str, str], int, Contents]] = (
            (answer.head(number), Rope(content).length, content)
            for number, content in zip(numbers, contents, strict=True)
        )
        pieces: list[bytes | FileSlice] = lay_out(boundary, parts)[0]
        return Reply(body=Rope(tuple(pieces)), content_type=answer.choice.content_type(boundary), etag=answer.etag)

    def _transcoded(self, answer: _Answer, image: ImageFile, numbers: Sequence[int]) -> Reply:
        assert image.description is not None
        if len(numbers) * image.description.frame_bytes <= _AT_ONCE or len(numbers) == 1:
            recode = recoder(image, answer.choice.transfer_syntax)
            return self._reply(answer, numbers, [(self._frame(answer, recode, number),) for number in numbers])
        first = self._frame(answer, recoder(image, answer.choice.transfer_syntax), numbers[0])  # or say why not
        boundary = make_boundary(self._key, answer.etag)
        return Reply(
            body=self._on_the_way(answer, numbers, boundary, first),
            content_type=answer.choice.content_type(boundary), etag=answer.etag,
        )  # fmt: skip

    def _on_the_way(self, answer: _Answer, numbers: Sequence[int], boundary: str, first: bytes) -> Iterator[bytes]:
        writer = MultipartWriter(boundary)
        with self._images.lend(answer.instance) as image:
            recode = recoder(image, answer.choice.transfer_syntax)
            for at, number in enumerate(numbers):
                content = first if not at else self._frame(answer, recode, number)
                yield writer.head(answer.head(number), len(content))
                yield content
        yield writer.end()

    def _frame(self, answer: _Answer, recode: FrameRecoder, number: int) -> bytes:
        key = "frame", answer.instance.version, number, answer.choice.transfer_syntax
        found = self._results.get(key)
        if found is None:
            found = bytes(recode(number - 1).data)
            self._results.put(key, found)
        return found


class _Answer(NamedTuple):
    """What the parts of an answer have in common."""

    request: Request
    instance: Located
    choice: Choice
    etag: str

    @property
    def part_type(self) -> str:
        return self.choice.part_type()

    def location(self, number: int) -> str:
        one = self.instance
        return self.request.url(
            "studies", one.study, "series", one.series, "instances", one.instance, "frames", str(number)
        )

    def head(self, number: int) -> dict[str, str]:
        return {"Content-Type": self.part_type, "Content-Location": self.location(number)}


def frame_count(image: ImageFile) -> int:
    """The frames that can be asked for; a video is one: all its frames are one stream."""
    return 1 if image.is_video and image.number_of_frames else image.number_of_frames


def frame_numbers(text: str | None, count: int) -> Sequence[int]:
    """The frames that a path names, counted from 1; None is all.

    Args:
        count: how many there are.

    Raises:
        UsageError: that is no list of numbers (400).
        NotFoundError: one of them is not there (404).
        HttpError: they are too many (413).
    """
    if text is None:
        if not count:
            raise NotFoundError("the instance has no frames")
        if count > LIST_LIMIT:
            raise HttpError(413, f"{count} frames are too many for one answer", hint="ask for some of them")
        return range(1, count + 1)
    parts = text.split(",")
    if len(parts) > LIST_LIMIT:
        raise UsageError(f"a list of {len(parts)} frames", hint=f"{LIST_LIMIT} at most")
    parts = [part.strip() for part in parts]
    if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        raise UsageError("frames are numbers with commas between them", hint="/frames/1,3,5")
    numbers = [int(part) for part in parts]
    missing = next((number for number in numbers if not 1 <= number <= count), None)
    if missing is not None:
        raise NotFoundError(f"there is no frame {missing}, only {count}" if count else "the instance has no frames")
    return numbers


def chosen(image: ImageFile, one: bool, accept: str | None, parameter: str | None) -> Choice:
    """What frames of an image are sent as. Raises: MediaTypeError (400), NotAcceptableError (406)."""
    described = image.description
    assert described is not None
    source = image.transfer_syntax_uid
    there = () if image.is_video else encodable(described._replace(number_of_frames=1), source)
    return _selected(source, there, one, accept, parameter)


@lru_cache(maxsize=256)
def _selected(source: str, there: tuple[str, ...], one: bool, accept: str | None, parameter: str | None) -> Choice:
    return select(frame_offers(source, there, one=one), accept, parameter)


@lru_cache(maxsize=256)
def encodable(description: PixelDescription, source: str) -> tuple[str, ...]:
    """The transfer syntaxes that frames can be sent in; those that lose something for who asks for them by name."""
    from dcmkit.pixels.codecs import available

    found = []
    if source in syntaxes.PASSED_THROUGH or not description.frame_bits:
        return ()
    for capability in available():
        target = capability.transfer_syntax_uid
        if not capability.encoders or target == source:
            continue
        try:
            steps = plan.plan(description, source, target)
        except UnsupportedSyntaxError:
            continue
        if steps.action != plan.RECOMPRESS:  # takes a stranger's codestream apart in this process
            found.append(target)
    return tuple(found)


def is_as_stored(image: ImageFile, transfer_syntax: str) -> bool:
    """Whether frames are sent as they lie there."""
    source = image.transfer_syntax_uid
    return transfer_syntax == source or (transfer_syntax == syntaxes.EXPLICIT and source in syntaxes.LITTLE_ENDIAN)


def as_stored(image: ImageFile, index: int) -> Contents:
    """The bytes of a frame, counted from 0, where they lie. Raises: InvalidDataSetError."""
    places = image.places(index)
    if places is None:
        return (bytes(image.frame(index)),)
    return tuple(FileSlice(image.path, start, length) for start, length in places)


def recoder(image: ImageFile, transfer_syntax: str) -> FrameRecoder:
    """What makes frames of an image into those of another transfer syntax; decoding is guarded.

    Raises:
        UnsupportedSyntaxError: it cannot be done (406).
    """
    from dcmkit.pixels.frames import EncodeOptions
    from dcmkit.pixels.recoding import FrameRecoder

    steps = plan.plan(image.description, image.transfer_syntax_uid, transfer_syntax)
    if steps.condition:  # would have to hold of every frame
        steps = plan.plan(image.description, image.transfer_syntax_uid, transfer_syntax, relabel=False)
    return FrameRecoder(image, steps, EncodeOptions(verify=False), decode=decode_guarded)

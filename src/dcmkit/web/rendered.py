"""Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): what people can look at without knowing DICOM."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.errors import DcmkitError, InputError, UsageError
from dcmkit.web import documents
from dcmkit.web.exchange import FileSlice, GoneError, HttpError, Reply, Request, Rope, warning_header
from dcmkit.web.framing import INSTANCE, frame_count, frame_numbers
from dcmkit.web.image_cache import ImageCache, ResultCache, blaming_object
from dcmkit.web.multipart import MultipartWriter, make_boundary
from dcmkit.web.negotiation import Choice, NotAcceptableError, rendered_offers, select
from dcmkit.web.rendering import (
    GIF,
    MEDIA_TYPES,
    RenderingParameters,
    encode_picture,
    read_rendered,
    render_animation,
    render_frame,
)
from dcmkit.web.representation import blocks_of
from dcmkit.web.resources import etag_of, instances_of, located
from dcmkit.web.routes import QueryParameter, Route

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.presentation import PresentationState

STUDY, SERIES = "/studies/{study}", "/studies/{study}/series/{series}"
PARTS_LIMIT = 2000
"""Pictures of one answer."""
ANIMATION_FRAMES, ANIMATION_PIXELS = 500, 1 << 27
"""Frames of one GIF, and pixels of all of them together."""
_CANDIDATES = 8
"""Instances that are looked at for one that has a picture."""
_NO_PICTURES = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.", "1.2.840.10008.5.1.4.1.1.11.",
                "1.2.840.10008.5.1.4.1.1.9.", "1.2.840.10008.5.1.4.1.1.66",
                "1.2.840.10008.5.1.4.1.1.481.3")  # fmt: skip
"""SOP classes that begin so have none: they are looked at last."""
_SEVERAL = (*MEDIA_TYPES, documents.HTML, documents.TEXT, documents.PDF, documents.CDA, documents.MP4, documents.MPEG,
            documents.TRANSPORT, documents.HEVC, documents.QUICKTIME, documents.STL, documents.OBJ,
            documents.MTL)  # fmt: skip
_PARAMETERS = (
    QueryParameter("viewport", "width and height it is fitted into, then left, top, width and height of what is shown"),
    QueryParameter("window", "centre, width and function of the VOI LUT: 40,400,linear"),
    QueryParameter("quality", "of lossy compression, 1 to 100", "integer"),
    QueryParameter("annotation", "patient, technique, or both: texts that are burned in"),
    QueryParameter("overlay", "which overlay planes are shown: yes, no, or their numbers from 0; an extension"),
    QueryParameter("iccprofile", "the colour space, and whether its profile is in the file",
                   values=("no", "yes", "srgb", "adobergb", "rommrgb")),
    QueryParameter("presentationUID", "SOP Instance UID of the presentation state to apply"),
    QueryParameter("presentationSeriesUID", "Series Instance UID of that"),
    QueryParameter("charset", "of text"),
)  # fmt: skip


class Shown(NamedTuple):
    """Something as it is looked at."""

    body: Rope
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


def media_types(image: ImageFile) -> tuple[str, ...]:
    """What an object can be rendered to, the default first; nothing where it cannot be looked at."""
    if image.description is not None:
        if image.is_video:
            return (documents.video_type(image),)
        return MEDIA_TYPES if image.description.frame_bits else ()
    found = documents.document_type(image)
    if found:
        return (found, "text/xml") if found == documents.CDA else (found,)
    return (documents.HTML, documents.TEXT) if documents.is_report(image) else ()


class Showing:
    """Makes of objects what is looked at, and remembers some of it.

    Args:
        images, results: shared with who reads frames.
    """

    def __init__(self, images: ImageCache | None = None, results: ResultCache | None = None) -> None:
        self.images = images if images is not None else ImageCache()
        self._results = results if results is not None else ResultCache()

    def show(
        self,
        image: ImageFile,
        media_type: str,
        wanted: RenderingParameters,
        frame: int | None = None,
        state: PresentationState | None = None,
        *,
        charset: str = "",
        key: str = "",
    ) -> Shown:
        """An object, or a frame of it, as one of its `media_types`.

        Args:
            frame: counted from 0; None is the first one, or for a GIF all of them.
            charset: of text; what a client asked for.
            key: what it can be remembered by: names all that it depends on.

        Raises:
            DcmkitError: it cannot be done; what is wrong with the object is an UnusableError.
        """
        with blaming_object():
            if media_type in MEDIA_TYPES:
                found = self._results.get(key) if key else None
                if found is None:
                    found = _picture(image, media_type, wanted, frame, state)
                    if key:
                        self._results.put(key, found)
                return Shown(Rope((found,)), media_type, _animation_warning(image, media_type, frame))
            if media_type in (documents.HTML, documents.TEXT):
                charset = documents.text_charset(charset)
                write = documents.report_as_html if media_type == documents.HTML else documents.report_as_text
                content = write(image.data_set, charset)
                return Shown(Rope((content,)), f"{media_type}; charset={charset}", (documents.SANDBOX,))
            body = documents.video(image) if image.is_video else documents.document(image)
            for piece in body.pieces[:1]:
                if isinstance(piece, FileSlice) and not os.path.exists(piece.path):
                    raise GoneError("a file has gone from the archive", hint="dcmkit index check finds such")
            return Shown(body, media_type, documents.document_headers(media_type))


def _picture(
    image: ImageFile, media_type: str, wanted: RenderingParameters, frame: int | None, state: PresentationState | None
) -> bytes:
    if media_type == GIF and frame is None and image.number_of_frames > 1:
        return render_animation(image, range(_animated(image)), wanted, state=state)
    return render_frame(image, frame or 0, wanted, media_type, state=state)


def _animated(image: ImageFile) -> int:
    """How many frames an animation has at most."""
    described = image.description
    assert described is not None
    room = ANIMATION_PIXELS // max(1, described.rows * described.columns)
    return max(1, min(image.number_of_frames, ANIMATION_FRAMES, room))


def _animation_warning(image: ImageFile, media_type: str, frame: int | None) -> tuple[tuple[str, str], ...]:
    if media_type != GIF or frame is not None or image.number_of_frames < 2:
        return ()
    shown = _animated(image)
    if shown == image.number_of_frames:
        return ()
    return (("Warning", warning_header("dcmkit", f"Only the first {shown} of {image.number_of_frames} frames.")),)


def find_state(
    archive: Archive, request: Request, study: str, wanted: RenderingParameters
) -> tuple[Located, ...]:  # fmt: skip
    """The presentation state that a request names, of the study of what it is for; nothing where it names none.

    Raises:
        NotFoundError: there is none (404).
    """
    if not wanted.presentation:
        return ()
    named = {"study": study, "series": wanted.presentation_series, "instance": wanted.presentation}
    return (located(archive, request, named)[0],)


def open_state(found: Sequence[Located]) -> PresentationState | None:
    """What `find_state` found, read. Raises: GoneError, UnusableError, UnsupportedSyntaxError."""
    if not found:
        return None
    from dcmkit.pixels.presentation import read_state

    with blaming_object():
        try:
            return read_state(found[0].path)
        except InputError:
            if not os.path.exists(found[0].path):
                raise GoneError("the file of the presentation state has gone from the archive") from None
            raise


def warnings_of(request: Request, wanted: RenderingParameters) -> tuple[tuple[str, str], ...]:
    """Headers that say what was not done."""
    return tuple(("Warning", warning_header(request.base_url, text)) for text in wanted.warnings)


class Rendered:
    """The transaction on one archive.

    Args:
        showing: shared with others who show objects.
        key: what boundaries come from.
    """

    def __init__(self, archive: Archive, showing: Showing | None = None, *, key: bytes = b"") -> None:
        self._archive = archive
        self._shown = showing if showing is not None else Showing()
        self._key = key or os.urandom(32)

    def routes(self) -> tuple[Route, ...]:
        """What it answers."""
        statuses = {410: "its file has gone", 413: "too many pictures"}
        size = QueryParameter("size", "of a thumbnail: N, or WIDTHxHEIGHT, as other servers have it")
        found = []
        for template, name, what in (
            (STUDY, "Study", "a study"), (SERIES, "Series", "a series"), (INSTANCE, "Instance", "an instance"),
            (INSTANCE + "/frames/{frames}", "Frames", "frames"),
        ):  # fmt: skip
            found.append(Route(
                "GET", template + "/rendered", self.rendered, ("retrieve",), f"retrieveRendered{name}",
                f"{what} as pictures, documents or text", "Rendered", _PARAMETERS, produces=_SEVERAL,
                statuses=statuses,
            ))  # fmt: skip
            found.append(Route(
                "GET", template + "/thumbnail", self.thumbnail, ("retrieve",), f"retrieve{name}Thumbnail",
                f"one small picture for {what}", "Rendered", (*_PARAMETERS, size), produces=MEDIA_TYPES,
                statuses=statuses,
            ))  # fmt: skip
        return tuple(found)

    def close(self) -> None:
        """Close what is open for the next request."""
        self._shown.images.close()

    # --- rendered ------------------------------------------------------------------------------------------------

    def rendered(self, request: Request) -> Reply:
        """What a path names, as it is looked at."""
        wanted = read_rendered(request.parameters)
        instances = instances_of(self._archive, request)
        if request.variables.get("instance"):
            return self._instance(request, instances[0], wanted)
        return self._several(request, instances, wanted)

    def _instance(self, request: Request, instance: Located, wanted: RenderingParameters) -> Reply:
        named = request.variables.get("frames")
        with self._shown.images.lend(instance) as image:
            with blaming_object():
                types = media_types(image)
                numbers = None if named is None else frame_numbers(named, frame_count(image))
            if not types:
                raise NotAcceptableError("it can be rendered as nothing", hint="/metadata says what it is")
            choice = _choose(types, numbers is None or len(numbers) == 1, *request.accept)
            found = find_state(self._archive, request, instance.study, wanted)
            charset = request.parameter("charset") or ""
            etag = etag_of([instance, *found], repr(wanted), *choice, named or "", charset)
            request.unless_known(etag)
            state = open_state(found)
            headers = warnings_of(request, wanted)
            if not choice.multipart:
                frame = numbers[0] - 1 if numbers else None
                shown = self._shown.show(image, choice.media_type, wanted, frame, state, charset=charset, key=etag)
                return Reply(
                    body=shown.body, content_type=shown.content_type, headers=(*headers, *shown.headers), etag=etag
                )
            count = image.number_of_frames if choice.media_type in MEDIA_TYPES else 0
            frames: list[int | None] = [number - 1 for number in numbers] if numbers else [*range(count)] or [None]
        if len(frames) > PARTS_LIMIT:
            raise HttpError(413, f"{len(frames)} frames are too many for one answer", hint="ask for some of them")
        parts = self._frames(request, instance, choice, wanted, frames, state, charset)
        return self._in_parts(parts, choice, etag, headers)

    def _frames(
        self,
        request: Request,
        instance: Located,
        choice: Choice,
        wanted: RenderingParameters,
        frames: Sequence[int | None],
        state: PresentationState | None,
        charset: str,
    ) -> Iterator[_Part]:
        """Frames of one object, one after the other."""
        with self._shown.images.lend(instance) as image:
            for frame in frames:
                shown = self._shown.show(image, choice.media_type, wanted, frame, state, charset=charset)
                yield _Part(_location(request, instance, frame), shown)

    def _several(self, request: Request, instances: Sequence[Located], wanted: RenderingParameters) -> Reply:
        choice = _choose(_SEVERAL, False, *request.accept)
        if len(instances) > PARTS_LIMIT:
            raise HttpError(
                413, f"{len(instances)} instances are too many for one answer", hint="ask for a series, or an instance"
            )
        found = find_state(self._archive, request, instances[0].study, wanted)
        charset = request.parameter("charset") or ""
        etag = etag_of([*instances, *found], repr(wanted), *choice, charset)
        request.unless_known(etag)
        parts = self._instances(request, instances, choice, wanted, open_state(found), charset)
        return self._in_parts(parts, choice, etag, warnings_of(request, wanted))

    def _instances(
        self,
        request: Request,
        instances: Sequence[Located],
        choice: Choice,
        wanted: RenderingParameters,
        state: PresentationState | None,
        charset: str,
    ) -> Iterator[_Part]:
        """Objects, one after the other; those that have no such representation are left out."""
        for instance in instances:
            try:
                with self._shown.images.lend(instance) as image:
                    with blaming_object():
                        if choice.media_type not in media_types(image):
                            continue
                    shown = self._shown.show(image, choice.media_type, wanted, None, state, charset=charset)
            except UsageError:
                raise
            except DcmkitError:  # one bad object is no reason to show none
                continue
            yield _Part(_location(request, instance, None), shown)

    def _in_parts(
        self, parts: Iterator[_Part], choice: Choice, etag: str, headers: tuple[tuple[str, str], ...]
    ) -> Reply:
        """An answer in parts; the first one is made before it begins, so that an error can still be told."""
        first = next(parts, None)
        if first is None:
            raise NotAcceptableError(f"nothing of it can be rendered as {choice.media_type}")
        boundary = make_boundary(self._key, etag)
        return Reply(
            body=_written(first, parts, boundary), content_type=choice.content_type(boundary), headers=headers,
            etag=etag,
        )  # fmt: skip

    # --- thumbnails ----------------------------------------------------------------------------------------------

    def thumbnail(self, request: Request) -> Reply:
        """One small picture: of the middle instance that has one, or a sign for what has none."""
        wanted = read_rendered(request.parameters, thumbnail=True)
        choice = _choose(MEDIA_TYPES, True, *request.accept)
        candidates = _candidates(instances_of(self._archive, request))
        named = request.variables.get("frames")
        found = find_state(self._archive, request, candidates[0].study, wanted)
        etag = etag_of([*candidates, *found], repr(wanted), *choice, named or "")
        request.unless_known(etag)
        state = open_state(found)
        headers = warnings_of(request, wanted)
        content = None
        for instance in candidates:
            content = self._thumbnail(instance, choice.media_type, wanted, named, state, etag)
            if content is not None:
                break
        if content is None:
            content = encode_picture(icon(candidates[0].modality, wanted.viewport), choice.media_type, wanted.quality)
        if choice.multipart:
            part = _Part(request.url(*request.path.strip("/").split("/")), Shown(Rope((content,)), choice.media_type))
            return self._in_parts(iter((part,)), choice, etag, headers)
        return Reply(body=content, content_type=choice.media_type, headers=headers, etag=etag)

    def _thumbnail(
        self,
        instance: Located,
        media_type: str,
        wanted: RenderingParameters,
        named: str | None,
        state: PresentationState | None,
        key: str,
    ) -> bytes | None:
        """None where the object has no picture, or a damaged one."""
        try:
            with self._shown.images.lend(instance) as image:
                with blaming_object():
                    frame = (
                        image.number_of_frames // 2
                        if named is None
                        else frame_numbers(named, frame_count(image))[0] - 1
                    )
                    if media_type not in media_types(image):
                        return None
                shown = self._shown.show(image, media_type, wanted, frame, state, key=key)
                return b"".join(piece for piece in shown.body.pieces if isinstance(piece, bytes))
        except UsageError:
            raise
        except DcmkitError:
            if named is not None:
                raise
            return None


class _Part(NamedTuple):
    location: str
    shown: Shown


def _location(request: Request, instance: Located, frame: int | None) -> str:
    parts = ["studies", instance.study, "series", instance.series, "instances", instance.instance]
    if frame is not None:
        parts += ["frames", str(frame + 1)]
    return request.url(*parts, "rendered")


def _written(first: _Part, others: Iterator[_Part], boundary: str) -> Iterator[bytes]:
    writer = MultipartWriter(boundary)
    part: _Part | None = first
    while part is not None:
        shown = part.shown
        headers = {"Content-Type": shown.content_type, "Content-Location": part.location}
        yield writer.head(headers, shown.body.length)
        yield from blocks_of(shown.body)
        part = next(others, None)
    yield writer.end()


@lru_cache(maxsize=512)
def _choose(types: tuple[str, ...], one: bool, accept: str | None, parameter: str | None) -> Choice:
    return select(rendered_offers(types, one=one), accept, parameter)


def _candidates(instances: Sequence[Located]) -> list[Located]:
    """Those that are looked at for a picture: from the middle outwards, what has none at the end."""
    likely = [one for one in instances if not one.sop_class_uid.startswith(_NO_PICTURES)] or list(instances)
    middle = len(likely) // 2
    nearest = sorted(range(len(likely)), key=lambda at: abs(at - middle))[:_CANDIDATES]
    return [likely[at] for at in nearest]


def icon(label: str, viewport: tuple[int, int] | None = None) -> Any:
    """A sign for what has no picture: its modality, light on dark."""
    import numpy as np

    from dcmkit.pixels import drawing

    rows, columns = (max(16, min(256, side)) for side in viewport or (128, 128))
    mask = np.zeros((rows, columns), bool)
    text = "".join(char for char in label[:8] if char.isascii() and char.isalnum()) or "?"
    size = max(1, min(rows, columns) // (8 * max(3, len(text))))
    width, height = drawing.text_size(text, size)
    drawing.write(mask, text, (columns - width) // 2, (rows - height) // 2, size)
    return np.where(mask, np.uint8(230), np.uint8(50))

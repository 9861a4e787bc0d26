"""What `wado` is to retrieve: options, URLs and lists as requests, looked up by QIDO-RS where they name no study."""

from __future__ import annotations

import os
import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, element, text
from dcmkit.errors import DcmkitError, InputError, UsageError
from dcmkit.services.models import IMAGE, PATIENT, QUERY_RETRIEVE_LEVEL, SERIES, STUDY, UNIQUE_KEYS
from dcmkit.services.retrieve_plan import NothingMatchedError, Want
from dcmkit.web.http_url import parse_url
from dcmkit.web.qido_client import Query
from dcmkit.web.wado_jobs import found_requests, request_of
from dcmkit.web.wado_targets import Target, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.services.retrieve_plan import Request
    from dcmkit.web.http_url import Url
    from dcmkit.web.qido_client import QidoClient

_UNIQUE = (STUDY, SERIES, IMAGE)
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_MOST_FRAMES = 100_000


class Named(NamedTuple):
    """A target that a URL names, and what of it: `/metadata`, `/frames/1`."""

    label: str
    target: Target
    rest: str = ""


def named_by_url(word: str, server: Url, root: str) -> Named:
    """A resource of the server, by its URL or by its path below the service.

    Raises:
        UsageError: it is none, or another server's: who we are is not shown to others.
    """
    if "://" in word:
        url = parse_url(word)
        if url.origin != server.origin:
            raise UsageError("a URL of another server", hint="ask each server with a command of its own")
        place = place_of(url.target)
        if place.root != root:
            raise UsageError("a URL of another service of the server", hint=f"this one's path is {root or '/'}")
    else:
        place = place_of(f"/{word.lstrip('/')}")
        if place.root:
            raise UsageError(f"{word[:200]!r} is neither a URL nor a path such as /studies/1.2.3")
    if place.target is None:
        raise UsageError("a URL that names no study", hint="say .../studies/UID")
    return Named(str(place.target), place.target, place.rest)


def url_lines(path: str) -> list[str]:
    """The lines of a list of URLs or paths; nothing where it is another kind of list."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except OSError:  # said by who reads lists of other kinds
        return []
    return lines if lines and all(re.match(r"https?://|/?studies/", line) for line in lines) else []


def requests_for(want: Want, finder: QidoClient) -> Iterator[Request]:
    """What is to be asked for; looked up where the keys are not enough.

    Raises:
        NothingMatchedError: the server has nothing of it.
        UsageError: there is no key to go by.
        NetworkError: it has to be looked up, which fails.
    """
    level = text(want.keys, QUERY_RETRIEVE_LEVEL).strip().upper() or _lowest(want.keys)
    if level == PATIENT:
        level = STUDY
    if level not in _UNIQUE:
        raise UsageError(f"QueryRetrieveLevel {level[:20]!r} is none of STUDY, SERIES, IMAGE")
    direct = _direct(want, level)
    if direct:
        for target in direct:
            yield request_of(target, want.label, is_named=want.named)
        return
    keys: DataSet = {tag: found for tag, found in want.keys.items() if found.value and tag != QUERY_RETRIEVE_LEVEL}
    if not keys:
        raise UsageError(f"{want.label}: no key has a value", hint="name what to retrieve, such as --study UID")
    for name in _UNIQUE[: _UNIQUE.index(level) + 1]:
        keys.setdefault(UNIQUE_KEYS[name], element(UNIQUE_KEYS[name]))
    count = 0
    for request in found_requests(finder, Query(level, keys), want.label, is_named=want.named):
        count += 1
        yield request
    if not count:
        raise NothingMatchedError(f"{want.label}: the server has nothing that matches")


def _lowest(keys: DataSet) -> str:
    return next((level for level in reversed(_UNIQUE) if text(keys, UNIQUE_KEYS[level])), STUDY)


def _direct(want: Want, level: str) -> list[Target]:
    """The targets that keys name by UIDs alone; none where they say less or more."""
    needed = _UNIQUE[: _UNIQUE.index(level) + 1]
    known = {UNIQUE_KEYS[name] for name in (*needed, PATIENT)} | {QUERY_RETRIEVE_LEVEL, 0x00080005}
    if any(found.value for tag, found in want.keys.items() if tag not in known):
        return []
    uids = [text(want.keys, UNIQUE_KEYS[name]).split("\\") for name in needed]
    if not all(all(uid and _NUMBERS.fullmatch(uid) for uid in found) for found in uids):
        return []
    return [Target(*found) for found in product(*uids)]


def by_series(requests: list[Request], finder: QidoClient) -> list[Request]:
    """Studies as their series, so that these can be retrieved side by side; as they are where the server fails."""
    found: list[Request] = []
    for request in requests:
        if request.level != STUDY:
            found.append(request)
            continue
        within = Target(text(request.identifier, UNIQUE_KEYS[STUDY]))
        keys = {UNIQUE_KEYS[SERIES]: element(UNIQUE_KEYS[SERIES])}
        try:
            series = list(found_requests(finder, Query(SERIES, keys, within), request.label, is_named=request.named))
        except DcmkitError:
            series = []
        found += series or [request]
    return found


def frame_numbers(text_: str) -> tuple[int, ...]:
    """`1,3,5-8`. Raises: UsageError."""
    found: list[int] = []
    for piece in text_.replace(" ", "").split(","):
        first, dash, last = piece.partition("-")
        if not (first.isdecimal() and first.isascii() and (not dash or (last.isdecimal() and last.isascii()))):
            raise UsageError(f"--frames {text_[:80]!r} is no list of numbers", hint="say 1,3,5-8")
        low, high = int(first[:9]), int((last or first)[:9])
        if not 1 <= low <= high or high - low > _MOST_FRAMES or len(found) > _MOST_FRAMES:
            raise UsageError(f"--frames {text_[:80]!r}: frames are counted from 1 upwards")
        found += range(low, high + 1)
    return tuple(dict.fromkeys(found))


# --- what is here ------------------------------------------------------------------------------------------------


class InArchive:
    """What an archive's index has."""

    def __init__(self, known: Callable[[str], list[tuple[str, str, int]]]) -> None:
        self._known = known

    def has(self, uid: str) -> bool:
        """Whether an instance is there."""
        return bool(self._known(uid))


class InFolder:
    """What a folder has, by the UIDs in its files' names and what the files say.

    Args:
        directory: the folder.
        depth: directories below it in which files lie.
    """

    def __init__(self, directory: str, depth: int = 0) -> None:
        self._directory, self._depth = directory, depth
        self._paths: dict[str, str] | None = None

    def has(self, uid: str) -> bool:
        """Whether a file is of this instance."""
        from dcmkit.dataset.part10 import read_file_header

        if self._paths is None:
            self._paths = dict(self._walk(self._directory, self._depth))
        path = self._paths.get(uid)
        if path is None:
            return False
        try:
            return read_file_header(path).sop_instance_uid == uid
        except InputError:
            return False

    def _walk(self, directory: str, depth: int) -> Iterator[tuple[str, str]]:
        try:
            entries = list(os.scandir(directory))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth:
                    yield from self._walk(entry.path, depth - 1)
                continue
            for uid in _NUMBERS.findall(entry.name):
                yield uid, entry.path


class AsFiles:
    """What a folder has of rendered images, metadata and the like: `UID.jpg`, `UID.0001.jpg`.

    Args:
        directory: the folder.
        middle: what stands between UID and extension: ".thumbnail", "".
        frames: all of these are to be there, where there are any.
    """

    def __init__(self, directory: str, middle: str = "", frames: tuple[int, ...] = ()) -> None:
        self._stems: set[str] | None = None
        self._directory, self._middle, self._frames = directory, middle, frames

    def has(self, uid: str) -> bool:
        """Whether all its files are there."""
        if self._stems is None:
            try:
                names = os.listdir(self._directory)
            except OSError:
                names = []
            self._stems = {name.rpartition(".")[0] for name in names if not name.startswith(".")}
        if self._frames:
            return all(f"{uid}{self._middle}.{number:04}" in self._stems for number in self._frames)
        return f"{uid}{self._middle}" in self._stems

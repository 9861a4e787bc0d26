"""Resources of a DICOMweb service: their paths (PS3.18 10.1.1), made and taken apart."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

from dcmkit.errors import UsageError
from dcmkit.uids import is_uid

_NAMES = ("studies", "series", "instances")


class Target(NamedTuple):
    """A study, a series of it, or an instance of that; "" for what is not said."""

    study: str
    series: str = ""
    instance: str = ""

    @property
    def path(self) -> str:
        """Below the service's root. Raises: UsageError: a UID is none."""
        found = ""
        for name, uid in zip(_NAMES, self, strict=True):
            if uid:
                if not is_uid(uid):
                    raise UsageError(f"{uid[:80]!r} is not a UID")
                found += f"/{name}/{uid}"
        return found

    @property
    def uid(self) -> str:
        """The lowest one."""
        return self.instance or self.series or self.study

    @property
    def level(self) -> str:
        """STUDY, SERIES or IMAGE, as (0008,0052) says it."""
        return "IMAGE" if self.instance else "SERIES" if self.series else "STUDY"

    def __str__(self) -> str:
        name = "instance" if self.instance else "series" if self.series else "study"
        return f"{name} {self.uid}"


class Place(NamedTuple):
    """A URL's path taken apart: the root of the service, the resource below it, and its query.

    Attributes:
        root: without a slash at its end.
        collection: "patients", "studies", "series" or "instances" where the path ends so; else "".
        target: what it names; None for the service or all of a collection.
        rest: what follows an instance: "/frames/1".
        query: without its question mark.
    """

    root: str
    collection: str = ""
    target: Target | None = None
    rest: str = ""
    query: str = ""


def place_of(url_target: str) -> Place:
    """Take path and query of a URL apart. Raises: UsageError: a UID in it is none."""
    path, _, query = url_target.partition("?")
    path = path.rstrip("/")
    segments = path.split("/")
    begin = next((at for at in range(len(segments)) if segments[at] == "studies"), -1)
    if begin < 0:
        if segments[-1] in ("patients", "series", "instances"):
            return Place("/".join(segments[:-1]), segments[-1], None, "", query)
        return Place(path, "", None, "", query)
    root, below = "/".join(segments[:begin]), segments[begin:]
    uids: list[str] = []
    at = 0
    while at < len(below) and len(uids) < len(_NAMES) and below[at] == _NAMES[len(uids)]:
        if at + 1 == len(below):
            break
        uids.append(_uid(unquote(below[at + 1])))
        at += 2
    rest = below[at:]
    collection = ""
    if len(rest) == 1 and rest[0] in _NAMES:
        collection, rest = rest[0], []
    target = Target(*uids) if uids else None
    return Place(root, collection, target, "/" + "/".join(rest) if rest else "", query)


def _uid(text: str) -> str:
    if not is_uid(text):
        raise UsageError(f"{text[:80]!r} in the URL is not a UID")
    return text


def encoded(name: str, value: str) -> str:
    """A query parameter as it is written in a URL; what queries are full of stays readable."""
    return f"{name}={quote(value, safe='*,:^@-._~/')}"

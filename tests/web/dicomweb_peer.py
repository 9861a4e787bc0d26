"""A DICOMweb server of a few objects, honest unless a test says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.archive.objects import part10
from tests.web.http_peer import Reply, Request

JSON = (("Content-Type", "application/dicom+json"),)
ROOT = "/dicom-web"
CT = "1.2.840.10008.5.1.4.1.1.2"


class Held(NamedTuple):
    """An instance."""

    study: str
    series: str
    uid: str
    content: bytes


def held(study: str, series: str, number: int, **how: object) -> Held:
    """An instance with a UID below its series'."""
    uid = f"{series}.{number}"
    return Held(study, series, uid, part10(uid, study=study, series=series, instance=number, **how))


def some(count: int, study: str = "1.2.1", series: str = "") -> list[Held]:
    """Instances of a series."""
    return [held(study, series or f"{study}.1", number) for number in range(1, count + 1)]


def multipart(contents: Iterable[bytes], kind: str = "application/dicom", boundary: str = "b0undary") -> Reply:
    """An answer in parts."""
    body = b"".join(
        b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (boundary.encode(), kind.encode(), content) for content in contents
    )
    headers = (("Content-Type", f'multipart/related; type="{kind}"; boundary={boundary}'),)
    return Reply(200, body + b"--%s--\r\n" % boundary.encode(), headers)


class Service:
    """Answers requests.

    Args:
        objects: it has.
        before: may answer in its place; None goes on.
    """

    def __init__(self, objects: Iterable[Held], before: Callable[[Request], Reply | None] | None = None) -> None:
        self.objects = list(objects)
        self.before = before

    def __call__(self, request: Request) -> Reply:
        reply = self.before(request) if self.before is not None else None
        if reply is not None:
            return reply
        url = urlsplit(request.path)
        if url.path == "/wado":
            query = dict(parse_qsl(url.query))
            found = [one for one in self.objects if one.uid == query["objectUID"]]
            return Reply(200, found[0].content, (("Content-Type", "application/dicom"),)) if found else Reply(404)
        parts = url.path.removeprefix(ROOT + "/").split("/")
        kinds = {"studies": 0, "series": 1, "instances": 2}
        found = self.objects
        at = 0
        while at + 1 < len(parts) and parts[at] in kinds:
            found = [one for one in found if one[kinds[parts[at]]] == parts[at + 1]]
            at += 2
        rest = parts[at:]
        if not rest:
            return multipart(one.content for one in found) if found else Reply(404)
        if rest[0] in kinds:
            return self.search(kinds[rest[0]], found, dict(parse_qsl(url.query)))
        if not found:
            return Reply(404)
        if rest == ["metadata"]:
            return Reply(
                200, json.dumps([{"00080018": {"vr": "UI", "Value": [one.uid]}} for one in found]).encode(), JSON
            )
        if rest[0] == "frames" and len(rest) == 2:
            return multipart((f"frame {n}".encode() for n in rest[1].split(",")), "application/octet-stream")
        if rest[-1] in ("rendered", "thumbnail"):
            return Reply(200, b"\xff\xd8picture", (("Content-Type", "image/jpeg"),))
        return Reply(400)

    @staticmethod
    def search(level: int, found: list[Held], query: dict[str, str]) -> Reply:
        """QIDO-RS, in pages."""
        tags = ("0020000D", "0020000E", "00080018")
        names = {"00080018": 2, "0020000E": 1, "0020000D": 0}
        for name, value in query.items():
            if name in names:
                found = [one for one in found if one[names[name]] in value.split(",")]
            if name == "00080050" and value != "A-1":
                found = []
        unique = dict.fromkeys(one[: level + 1] for one in found)
        rows = [{tag: {"vr": "UI", "Value": [uid]} for tag, uid in zip(tags, uids, strict=False)} for uids in unique]
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 1000))
        rows = rows[offset : offset + limit]
        return Reply(200, json.dumps(rows).encode(), JSON) if rows else Reply(204)

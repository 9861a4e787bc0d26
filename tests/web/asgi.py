"""An ASGI application, asked without a server."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def call(
    app: Any,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | list[bytes] = b"",
    *,
    client: str = "127.0.0.1",
    lost: bool = False,
) -> Answer:
    """One request. `body` may come in pieces; with `lost` the connection ends before the body does."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    plain, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": plain, "raw_path": plain.encode("ascii"), "query_string": query.encode("ascii"), "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1"))
                    for name, value in {"host": "archive.example", **(headers or {})}.items()],
        "client": (client, 50000), "server": ("127.0.0.1", 8042),
    }  # fmt: skip
    sent: list[Any] = []

    async def run() -> None:
        waiting: asyncio.Event = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces) or lost}
            if lost:
                return {"type": "http.disconnect"}
            await waiting.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    asyncio.run(run())
    start = sent[0]
    answer_headers: dict[str, str] = {}
    for name, value in start["headers"]:
        key = name.decode("latin-1")
        answer_headers[key] = (
            f"{answer_headers[key]}, {value.decode('latin-1')}" if key in answer_headers else value.decode("latin-1")
        )
    content = b"".join(bytes(message.get("body", b"")) for message in sent[1:])
    assert not sent[-1].get("more_body", False)
    return Answer(start["status"], answer_headers, content)

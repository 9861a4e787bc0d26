"""Bodies on their way from the loop to a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from dcmkit.errors import DcmkitError
from dcmkit.web.multipart import BodyTooLargeError
from dcmkit.web.request_body import BLOCK, BodyLostError, StreamedBody


def read(messages: list[Any], how: Callable[[StreamedBody], Any], limit: int = 0, timeout: float = 30.0) -> Any:
    """What `how` makes of a body that comes in these messages, in a thread."""

    async def run() -> Any:
        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            return messages.pop(0)

        body = StreamedBody(receive, limit, timeout)
        await body.begin()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, how, body)
        finally:
            await body.end()

    return asyncio.run(run())


def piece(content: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_small_body_is_one_block() -> None:
    assert read([piece(b"ab"), piece(b""), piece(b"c", False)], list) == [b"abc"]
    assert read([piece(b"", False)], list) == []


def test_a_long_body_comes_in_blocks_of_bounded_size() -> None:
    content = bytes(range(256)) * 256
    blocks = read([*(piece(content) for _ in range(200)), piece(b"end", False)], list)
    assert b"".join(blocks) == content * 200 + b"end"
    assert max(map(len, blocks)) <= 2 * BLOCK + len(content)
    assert len(blocks) < 30


def test_a_reader_that_is_slow_is_waited_for() -> None:
    peak = []

    def slow(body: StreamedBody) -> int:
        count = 0
        for block in body:
            peak.append(body._waiting)
            count += len(block)
        return count

    assert read([*(piece(b"x" * 65536) for _ in range(320)), piece(b"", False)], slow) == 320 * 65536
    assert max(peak) <= 2 * BLOCK + 65536


def test_a_body_that_is_lost() -> None:
    with pytest.raises(BodyLostError):
        read([piece(b"ab"), {"type": "http.disconnect"}], list)


def test_a_body_that_stops_coming() -> None:
    with pytest.raises(DcmkitError) as caught:
        read([piece(b"ab")], list, timeout=0.01)
    assert caught.value.http_status == 408


def test_a_body_that_is_too_large() -> None:
    with pytest.raises(BodyTooLargeError):
        read([piece(b"x" * 100), piece(b"x" * 100, False)], list, limit=150)
    with pytest.raises(BodyTooLargeError):
        read([piece(b"x" * 100, False)], lambda body: body.read(50))
    assert read([piece(b"x" * 100, False)], lambda body: body.read(100)) == b"x" * 100


def test_a_reader_who_has_enough() -> None:
    assert read([piece(b"x" * BLOCK) for _ in range(9)], lambda body: len(next(iter(body)))) >= BLOCK

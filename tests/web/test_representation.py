"""Conditional requests, ranges, compression."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import OutputError
from dcmkit.web.exchange import FileSlice, GoneError, Reply, Rope
from dcmkit.web.representation import AHEAD, BLOCK, SMALL, Outgoing, blocks_of, prepare

JSON = "application/dicom+json"
TEXT = b'{"a": 1}' * 1000


def body(outgoing: Outgoing) -> bytes:
    return b"".join(outgoing.blocks)


def headers(outgoing: Outgoing) -> dict[str, str]:
    found = dict(outgoing.headers)
    assert len(found) == len(outgoing.headers)
    return found


def test_bytes() -> None:
    sent = prepare(Reply(200, b"abc", "image/png", (("Warning", "299"),), etag="e"), {})
    found = headers(sent)
    assert (sent.status, body(sent)) == (200, b"abc")
    assert found["content-length"] == "3"
    assert found["etag"] == '"e"'
    assert found["warning"] == "299"
    assert found["cache-control"] == "private, no-cache"
    assert "accept-ranges" in found


def test_what_has_no_tag_is_not_kept() -> None:
    assert headers(prepare(Reply(200, b"abc", "image/png"), {}))["cache-control"] == "no-store"


def test_head_has_the_headers_and_no_body() -> None:
    sent = prepare(Reply(200, b"abc", "image/png"), {}, head=True)
    assert headers(sent)["content-length"] == "3"
    assert body(sent) == b""


def test_what_the_user_agent_has_is_not_sent_again() -> None:
    sent = prepare(Reply(200, b"abc", "image/png", etag="e"), {"if-none-match": '"e"'})
    assert (sent.status, body(sent)) == (304, b"")
    assert prepare(Reply(200, b"abc", "image/png", etag="e"), {"if-none-match": '"f"'}).status == 200


@pytest.mark.parametrize(("accepted", "compressed"), [
    ("gzip, deflate, br", True), ("*", True), ("gzip;q=0", False), ("gzip;q=0.0, br", False), ("br", False),
    ("", False), ("GZIP;q=0.5", True),
])  # fmt: skip
def test_texts_are_compressed_for_who_takes_that(accepted: str, compressed: bool) -> None:
    sent = prepare(Reply(200, TEXT, JSON, etag="e"), {"accept-encoding": accepted})
    found = headers(sent)
    assert ("content-encoding" in found) is compressed
    assert found["etag"] == ('"e-gzip"' if compressed else '"e"')
    assert "Accept-Encoding" in found["vary"]
    content = body(sent)
    assert found["content-length"] == str(len(content))
    assert (zlib.decompress(content, 31) if compressed else content) == TEXT


def test_what_is_small_or_an_image_is_not_compressed() -> None:
    gzip = {"accept-encoding": "gzip"}
    assert "content-encoding" not in headers(prepare(Reply(200, b"{}", JSON), gzip))
    assert "content-encoding" not in headers(prepare(Reply(200, TEXT, "image/png"), gzip))
    kept = prepare(Reply(200, TEXT, JSON, gzipped=b"kept"), gzip)
    assert body(kept) == b"kept"


@pytest.mark.parametrize(("asked", "status", "content", "span"), [
    ("bytes=0-2", 206, b"012", "bytes 0-2/10"),
    ("bytes=5-", 206, b"56789", "bytes 5-9/10"),
    ("bytes=-3", 206, b"789", "bytes 7-9/10"),
    ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
    ("bytes=-100", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=10-", 416, b"", "bytes */10"),
    ("bytes=-0", 416, b"", "bytes */10"),
    ("bytes=3-1", 200, b"0123456789", None),
    ("bytes=0-1,3-4", 200, b"0123456789", None),
    ("lines=0-1", 200, b"0123456789", None),
    ("bytes=-", 200, b"0123456789", None),
    ("bytes=" + "9" * 30 + "-", 200, b"0123456789", None),
])  # fmt: skip
def test_ranges(tmp_path: Path, asked: str, status: int, content: bytes, span: str | None) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"xx2345yy")
    for whole in (b"0123456789", Rope((b"01", FileSlice(str(path), 2, 4), b"6789"))):
        sent = prepare(Reply(200, whole, "image/png"), {"range": asked})
        assert (sent.status, body(sent)) == (status, content)
        assert headers(sent).get("content-range") == span
        assert headers(sent)["content-length"] == str(len(content))


def test_a_range_of_something_older_is_not_served() -> None:
    asked = {"range": "bytes=0-1", "if-range": '"old"'}
    assert prepare(Reply(200, b"0123", "image/png", etag="new"), asked).status == 200
    assert prepare(Reply(200, b"0123", "image/png", etag="old"), asked).status == 206


def test_iterators_go_out_as_they_are() -> None:
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    sent = prepare(Reply(200, pieces(), "application/zip", length=2), {})
    assert not sent.whole
    assert headers(sent)["content-length"] == "2"
    assert body(sent) == b"ab"
    begun = pieces()
    next(begun)
    assert body(prepare(Reply(200, begun, "application/zip"), {}, head=True)) == b""
    assert closed == [True, True]


@given(st.lists(st.integers(0, 200_000), max_size=12))
def test_ropes_go_out_in_blocks(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    path = tmp_path_factory.mktemp("rope") / "a"
    content = bytes(range(256)) * 800
    path.write_bytes(content)
    pieces: list[bytes | FileSlice] = []
    expected = b""
    for number, length in enumerate(lengths):
        pieces += [content[:number], FileSlice(str(path), number, min(length, len(content) - number))]
        expected += content[:number] + content[number : number + length]
    blocks = list(blocks_of(Rope(tuple(pieces))))
    assert b"".join(blocks) == expected
    assert all(0 < len(block) <= BLOCK for block in blocks)


def test_a_file_that_became_shorter_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"123")
    with pytest.raises(OutputError, match="shorter"):
        list(blocks_of(Rope((FileSlice(str(path), 0, 9),))))
    with pytest.raises(GoneError, match="deleted"):
        list(blocks_of(Rope((FileSlice(str(tmp_path / "b"), 0, 9),))))
    with pytest.raises(OutputError, match="cannot be read"):
        list(blocks_of(Rope((FileSlice(str(tmp_path), 0, 9),))))


def test_less_is_read_ahead_of_each_the_more_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(3 * BLOCK))
    rope = Rope((FileSlice(str(path), 0, 3 * BLOCK),))
    assert not AHEAD.is_crowded
    assert [len(block) for block in blocks_of(rope)] == [BLOCK] * 3
    monkeypatch.setattr(AHEAD, "streams", 1000)
    assert AHEAD.is_crowded
    assert {len(block) for block in blocks_of(rope)} == {AHEAD.share} == {SMALL}

"""Requests, replies and ropes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.web.exchange import (
    FileSlice,
    GoneError,
    HttpError,
    NotModified,
    Request,
    Rope,
    WholeBody,
    make_etag,
    matches,
    read_slice,
)  # fmt: skip


@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(0, 60), st.integers(0, 60))
def test_a_slice_of_a_rope_is_the_slice_of_its_bytes(pieces: list[bytes], start: int, stop: int) -> None:
    rope = Rope(tuple(pieces))
    sliced = rope.slice(start, stop)
    assert b"".join(piece for piece in sliced.pieces if isinstance(piece, bytes)) == b"".join(pieces)[start:stop]
    assert sliced.length == len(b"".join(pieces)[start:stop])


def test_files_in_ropes_are_cut_by_their_offsets() -> None:
    rope = Rope((b"head", FileSlice("a", 100, 50), b"tail"))
    assert rope.length == 58
    assert rope.slice(2, 10).pieces == (b"ad", FileSlice("a", 100, 6))
    assert rope.slice(50, 56).pieces == (FileSlice("a", 146, 4), b"ta")


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert b"".join(read_slice(FileSlice(str(path), 2, 3))) == b"345"
    with pytest.raises(GoneError) as caught:
        list(read_slice(FileSlice(str(tmp_path / "b"), 0, 5)))
    assert caught.value.http_status == 410


def test_parameters_and_urls() -> None:
    request = Request(parameters=(("Accept", "image/png"), ("limit", "1")), base_url="https://a/dicom-web",
                      headers={"accept": "*/*"})  # fmt: skip
    assert request.parameter("accept") == "image/png"
    assert request.parameter("offset") is None
    assert request.accept == ("*/*", "image/png")
    assert request.url("studies", "1.2/../3") == "https://a/dicom-web/studies/1.2%2F..%2F3"


def test_what_the_user_agent_has() -> None:
    etag = make_etag("a", 1, b"c")
    assert etag == make_etag("a", 1, b"c") != make_etag("a", "1c")
    for header in (f'"{etag}"', f'W/"{etag}"', f'"x", "{etag}-gzip"', "*"):
        assert matches(header, etag)
        with pytest.raises(NotModified):
            Request(headers={"if-none-match": header}).unless_known(etag)
    assert not matches("", etag)
    assert not matches('"x"', etag)
    Request().unless_known(etag)


def test_errors_have_their_own_status() -> None:
    assert HttpError(418, "no").http_status == 418
    assert WholeBody(b"abc").read(10) == b"abc"
    assert list(WholeBody()) == []

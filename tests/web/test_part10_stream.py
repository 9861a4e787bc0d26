"""Objects that come in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.archive.folder import Folder
from dcmkit.errors import InvalidDataSetError
from dcmkit.web.part10_stream import Part10Stream
from tests.archive.objects import image, part10


def fed(folder: Folder | None, content: bytes, size: int) -> Part10Stream:
    stream = Part10Stream(folder, "PEER")
    for at in range(0, len(content), size):
        stream.feed(memoryview(content)[at : at + size])
    return stream


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
@pytest.mark.parametrize("pixels", [b"\1\2", b"\1\2" * 20_000])
def test_the_data_set_stays_as_it_is(tmp_path: Path, size: int, pixels: bytes) -> None:
    data = image(pixels=pixels)
    with Folder(str(tmp_path)) as folder:
        taken = fed(folder, part10(data=data), size).finish()
    assert Path(taken.path).read_bytes().endswith(data)
    assert taken.header.sop_instance_uid == "1.2.3"


def test_without_file_meta_information(tmp_path: Path) -> None:
    with Folder(str(tmp_path)) as folder:
        assert fed(folder, image(), 50).finish().header.transfer_syntax_uid == "1.2.840.10008.1.2.1"


def test_it_may_be_forgotten() -> None:
    taken = fed(None, part10(), 100).finish()
    assert (taken.path, taken.header.sop_instance_uid) == ("", "1.2.3")


def feed_and_finish(stream: Part10Stream, content: bytes) -> None:
    for at in range(0, len(content), 8192):
        stream.feed(memoryview(content)[at : at + 8192])
    stream.finish()


ENDLESS = part10()[:132] + b"\2\0\2\1OB\0\0\xff\xff\xff\x7f"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 20_000,
        part10()[:200],
        part10()[:-1],
        ENDLESS + b"\0" * (3 << 20),
        part10(data=b"\x10\0\x10\0PN\2\0ab"),
    ],
)
def test_what_is_no_object_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    with Folder(str(tmp_path)) as folder:
        stream = Part10Stream(folder)
        with pytest.raises(InvalidDataSetError):
            feed_and_finish(stream, content)
        stream.abandon()
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(1, 200))
def test_anything_gives_an_object_or_the_documented_error(garbage: bytes, at: int, size: int) -> None:
    content = part10()[:at] + garbage
    stream = Part10Stream(None)
    try:
        for begin in range(0, len(content), size):
            stream.feed(memoryview(content)[begin : begin + size])
        stream.finish()
    except InvalidDataSetError:
        pass


def test_names_that_are_paths(tmp_path: Path) -> None:
    content = part10().replace(b"1.2.3\0", b"../..x")
    with Folder(str(tmp_path)) as folder, pytest.raises(InvalidDataSetError):
        fed(folder, content, 100).finish()


def test_abandoned(tmp_path: Path) -> None:
    with Folder(str(tmp_path)) as folder:
        fed(folder, part10(data=image(pixels=b"12" * 9000))[:-1], 9000).abandon()
    assert list(tmp_path.iterdir()) == []

"""Finding byte strings: the same as searching each by itself, with numpy and without."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.deid import seeking
from dcmkit.deid.seeking import Strings

pytest.importorskip("numpy")


@pytest.fixture(params=["numpy", "without"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "without":
        monkeypatch.setattr(seeking.sys, "modules", {})
        monkeypatch.setattr(seeking, "_WITHOUT_NUMPY", 1 << 62)
    return request.param


def expected(data: bytes, strings: list[bytes]) -> set[tuple[int, bytes]]:
    return {(at, one) for one in strings if len(one) >= 4 for at in range(len(data)) if data[at : at + len(one)] == one}


def found(data: bytes, strings: list[bytes]) -> set[tuple[int, bytes]]:
    listed = list(Strings(strings).find(data))
    assert len(listed) == len(set(listed))
    return set(listed)


@given(st.binary(max_size=60), st.lists(st.binary(min_size=4, max_size=12), max_size=5), st.integers(0, 5))
def test_anything_in_anything(data: bytes, strings: list[bytes], before: int):
    data = bytes(before) + data + b"".join(strings) + data
    assert found(data, strings) == expected(data, strings)


@given(st.binary(max_size=60), st.lists(st.text("ab", min_size=3, max_size=9), max_size=5))
def test_strings_that_overlap(data: bytes, texts: list[str]):
    strings = [text.encode() for text in texts]
    data = b"abababaaaa" + data + b"".join(strings) + b"babaababab"
    assert found(data, strings) == expected(data, strings)


def test_at_every_place(way: str):
    for length in (4, 5, 6, 7, 8, 15):
        string = bytes(range(65, 65 + length))
        for before in range(9):
            for after in range(5):
                data = b"\xff" * before + string + b"\xff" * after
                assert list(Strings([string]).find(data)) == [(before, string)], way


def test_at_the_edges_of_chunks(way: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seeking, "_CHUNK", 64)
    strings = [b"abcd", b"abcdefgh", b"x" * 40]
    for before in range(40, 90):
        data = bytes(before) + b"".join(strings) + bytes(50)
        assert found(data, strings) == expected(data, strings), way


def test_many_candidates(way: str):
    """A grey image may be full of a short number: not every place is told, but the first and the last are."""
    data = b"12345678" + b"0" * 3_000_000 + b"12345678"
    places = found(data, [b"0000", b"0" * 16, b"12345678"])
    assert {(0, b"12345678"), (8, b"0000"), (3_000_008, b"12345678"), (3_000_004, b"0000")} <= places
    assert len(places) < 5000


def test_random_data_as_one_by_one(way: str):
    generator = random.Random(1)
    strings = [generator.randbytes(generator.randint(4, 20)) for _ in range(300)]
    data = bytearray(generator.randbytes(200_000))
    for number, one in enumerate(strings[::3]):
        data[number * 1001 : number * 1001 + len(one)] = one
    listed = found(bytes(data), strings)
    assert {one for _, one in listed} == set(strings[::3])
    assert all(data[at : at + len(one)] == one for at, one in listed)


@pytest.mark.parametrize("data", [b"", b"a", b"abc"])
def test_nothing_to_be_found(data: bytes, way: str):
    assert not list(Strings([b"abcd", b"abcdefgh"]).find(data))
    assert not list(Strings([]).find(data))
    assert not list(Strings([b"abc"]).find(b"abc"))


def test_any_buffer(way: str):
    for data in (bytearray(b"xabcdx"), memoryview(b"xabcdx"), memoryview(b"--xabcdx")[2:]):
        assert list(Strings([b"abcd"]).find(data)) == [(1, b"abcd")]


def test_little_is_searched_without_numpy():
    script = (
        "import sys; from dcmkit.deid.seeking import Strings\n"
        "s = Strings([b'abcd', b'abcdefgh']); assert list(s.find(bytes(9) + b'abcd')) == [(9, b'abcd')]\n"
        "print('numpy' in sys.modules)\n"
        "s = Strings([bytes([n]) * 8 for n in range(100)]); list(s.find(bytes(1000000)))\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]

"""Metadata that is kept: found, outdated, deleted, damaged, beside other processes."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.web.metadata_store import MetadataStore, Row

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def row(instance: str, json: bytes = b"{}", *, series: str = "1.1", size: int = 1) -> Row:
    return Row("1", series, instance, size, 2, json)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    store = MetadataStore(str(tmp_path / "metadata.sqlite"))
    yield store
    store.close()


def test_what_is_written_is_read(store: MetadataStore) -> None:
    assert store.read("1", "1.1", ["a"]) == {}
    store.write([row("a"), row("b", b"x" * 100_000), row("c", series="1.2")])
    assert store.read("1", "1.1", ["a", "b", "d"]) == {"a": row("a"), "b": row("b", b"x" * 100_000)}
    assert store.read("1", "1.1", [], most=True).keys() == {"a", "b"}
    store.write([row("a", b"[]", size=5)])
    assert store.read("1", "1.1", ["a"]) == {"a": row("a", b"[]", size=5)}


def test_many_at_once(store: MetadataStore) -> None:
    names = [str(number) for number in range(1000)]
    store.write(row(name) for name in names)
    assert store.read("1", "1.1", names).keys() == set(names)


def test_what_is_forgotten(store: MetadataStore) -> None:
    store.write([row("a"), row("b"), row("c")])
    store.forget([("1", "1.1", "b"), ("9", "9", "9")])
    assert store.keys_after(("", "", ""), 10) == [("1", "1.1", "a"), ("1", "1.1", "c")]
    assert store.keys_after(("1", "1.1", "a"), 1) == [("1", "1.1", "c")]


def test_the_file_may_be_deleted(store: MetadataStore) -> None:
    store.write([row("a")])
    for name in os.listdir(os.path.dirname(store.path)):
        os.unlink(os.path.join(os.path.dirname(store.path), name))
    assert store.read("1", "1.1", ["a"]) == {}
    store.write([row("b")])
    assert store.read("1", "1.1", ["b"])


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_thrown_away(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(content)
    store = MetadataStore(str(path))
    for _ in range(2):
        store.write([row("a")])
    assert store.read("1", "1.1", ["a"])
    store.close()


def test_rows_of_another_format_are_thrown_away(store: MetadataStore) -> None:
    store.write([row("a")])
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert store.read("1", "1.1", ["a"]) == {}
    store.write([row("a")])
    assert store.read("1", "1.1", ["a"])


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    store = MetadataStore(str(tmp_path / "none" / "metadata.sqlite"))
    store.write([row("a")])
    assert store.read("1", "1.1", ["a"]) == {}
    assert store.keys_after(("", "", ""), 1) == []
    store.close()


def test_two_stores_and_many_threads(store: MetadataStore) -> None:
    other = MetadataStore(store.path)

    def work(which: MetadataStore, start: int) -> None:
        for number in range(start, start + 20):
            which.write([row(str(number))])
            assert which.read("1", "1.1", [str(number)])

    threads = [threading.Thread(target=work, args=(which, at * 100)) for at, which in enumerate((store, other) * 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.keys_after(("", "", ""), 1000)) == 120
    other.close()


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_after_a_fork(store: MetadataStore) -> None:
    store.write([row("a")])
    child = os.fork()
    if not child:
        try:
            store.write([row("b")])
            os._exit(0 if store.read("1", "1.1", ["a", "b"]).keys() == {"a", "b"} else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.read("1", "1.1", ["a", "b"]).keys() == {"a", "b"}

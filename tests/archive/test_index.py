"""The index: rows come, are found, go; and what SQLite says becomes our errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import index as index_module
from dcmkit.archive.attributes import WANTED, Attribute
from dcmkit.archive.index import Index, translate
from dcmkit.archive.record import Record
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.errors import IndexDamagedError, OutputError
from tests.archive.objects import CT, EXPLICIT, image

KVP = Attribute("KVP", 0x00180060, "instance", "DS")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(str(tmp_path / "index.sqlite"), "none")
    assert made.open() == 0
    yield made
    made.close()


def record(
    uid: str = "1.2.3",
    directory: str = "a/b",
    name: str = "",
    extra: tuple[Attribute, ...] = (),
    person: str = "Doe^Jane",
    **how: Any,
) -> Record:
    scanner = DataSetScanner(EXPLICIT, WANTED | {KVP.tag})
    scanner.feed(memoryview(image(uid, name=person, **how)))
    made = Record(scanner.finish(), CT, uid, EXPLICIT, extra)
    made.directory, made.name, made.received = directory, name or f"{uid}.dcm", 1700000000
    return made


def all_of(index: Index, sql: str) -> list[Any]:
    with index.reading() as connection:
        return connection.execute(sql).fetchall()


def test_rows_of_all_levels(index: Index):
    index.insert(
        [record("1.2.1"), record("1.2.2"), record("1.2.3", series="1.5"), record("1.2.4", study="1.6", patient="b")]
    )
    assert index.count() == {"patient": 2, "study": 2, "series": 3, "instance": 4}
    assert index.find("1.2.1") == [("a/b", "1.2.1.dcm", 0)]
    assert index.find("9") == []
    assert index.directories() == ["a/b"]
    assert sorted(index.files_in("a/b")) == ["1.2.1.dcm", "1.2.2.dcm", "1.2.3.dcm", "1.2.4.dcm"]
    assert index.last_received() == 1700000000
    assert index.is_sound()


def test_an_empty_index(index: Index):
    assert index.last_received() == 0
    assert index.directories() == []
    assert index.files_in("") == {}


def test_the_same_file_again_is_updated(index: Index):
    index.insert([record("1.2.1", instance=1)])
    index.insert([record("1.2.1", instance=2)])
    assert all_of(index, "SELECT copy, InstanceNumber FROM instance") == [(0, 2)]


def test_other_files_of_the_same_instance_are_counted(index: Index):
    index.insert([record("1.2.1"), record("1.2.1", name="2"), record("1.2.1", name="3")])
    assert [name for _, name, _ in index.find("1.2.1")] == ["1.2.1.dcm", "2", "3"]
    index.remove([("a/b", "2")])
    index.insert([record("1.2.1", name="4")])
    assert all_of(index, "SELECT copy, name FROM instance ORDER BY copy") == [(0, "1.2.1.dcm"), (1, "4"), (2, "3")]


def test_the_first_copy_is_always_number_0(index: Index):
    index.insert([record("1.2.1"), record("1.2.1", name="2")])
    index.remove([("a/b", "1.2.1.dcm")])
    assert all_of(index, "SELECT copy, name FROM instance") == [(0, "2")]


def test_what_is_missing_is_filled_by_what_comes_later(index: Index):
    index.insert([record("1.2.1", without=[0x00081030])])
    assert all_of(index, "SELECT StudyDescription FROM study") == [(None,)]
    index.insert([record("1.2.2", series="1.5")])
    assert all_of(index, "SELECT StudyDescription FROM study") == [("Head",)]
    index.insert([record("1.2.3", series="1.6", more=[(0x00081030, "LO", b"Other")])])
    assert all_of(index, "SELECT StudyDescription FROM study") == [("Head",)]


def test_patients_without_an_id_are_told_apart_by_name(index: Index):
    for number, name in enumerate(("Doe^Jane", "DOE^JANE", "Roe^Richard")):
        index.insert([record(f"1.2.{number}", patient="", study=f"1.1.{number}", person=name)])
    assert index.count()["patient"] == 2


def test_a_study_stays_with_its_first_patient(index: Index):
    index.insert([record("1.2.1")])
    index.insert([record("1.2.2", series="1.5", patient="another")])
    assert index.count() == {"patient": 1, "study": 1, "series": 2, "instance": 2}


def test_one_series_uid_in_two_studies(index: Index):
    index.insert([record("1.2.1"), record("1.2.2", study="1.9")])
    assert index.count()["series"] == 2


def test_removing_takes_what_is_empty_with_it(index: Index):
    index.insert([record("1.2.1"), record("1.2.2", series="1.5", directory="c")])
    assert index.remove([("c", "1.2.2.dcm"), ("c", "none")]) == 1
    assert index.count() == {"patient": 1, "study": 1, "series": 1, "instance": 1}
    assert index.directories() == ["a/b"]
    index.remove([("a/b", "1.2.1.dcm")])
    assert index.count() == {"patient": 0, "study": 0, "series": 0, "instance": 0}
    index.insert([record("1.2.1")])
    assert index.count() == {"patient": 1, "study": 1, "series": 1, "instance": 1}


def test_series_another_process_removed_are_made_again(index: Index):
    index.insert([record("1.2.1")])
    other = Index(index.path, "none")
    other.remove([("a/b", "1.2.1.dcm")])
    other.close()
    index.insert([record("1.2.2")])
    assert index.count() == {"patient": 1, "study": 1, "series": 1, "instance": 1}


def test_records_that_supersede_others(index: Index):
    index.insert([record("1.2.1"), record("1.2.1", name="2")])
    new = record("1.2.1", name="3", series="1.7")
    new.supersedes = (("a/b", "1.2.1.dcm"), ("a/b", "2"))
    index.insert([new])
    assert index.find("1.2.1") == [("a/b", "3", 0)]
    assert index.count()["series"] == 1


def test_extra_keywords(index: Index):
    kvp = [(KVP.tag, "DS", b"120")]
    index.insert([record("1.2.1", extra=(KVP,), more=kvp), record("1.2.2", extra=(KVP,))])
    assert all_of(index, "SELECT keyword, value FROM extra") == [("KVP", "120")]
    index.insert([record("1.2.1", extra=(KVP,), more=[(KVP.tag, "DS", b"80")])])
    assert all_of(index, "SELECT value FROM extra") == [("80",)]
    index.remove([("a/b", "1.2.1.dcm")])
    assert all_of(index, "SELECT value FROM extra") == []


def test_all_or_none(index: Index, monkeypatch: pytest.MonkeyPatch):
    good, bad = record("1.2.1"), record("1.2.2")
    bad.name = "\ud800"  # SQLite cannot hold it
    with pytest.raises(UnicodeEncodeError):
        index.insert([good, bad])
    assert index.count()["instance"] == 0
    index.insert([good])
    assert index.count()["instance"] == 1


def test_caches_are_bounded(index: Index, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index_module, "_CACHE_LIMIT", 3)
    index.insert([record(f"1.2.{number}", directory=str(number), series=f"1.3.{number}") for number in range(20)])
    assert len(index._series) <= 3
    assert len(index._directories) <= 3
    assert index.count()["series"] == 20


def test_a_reader_cannot_write(index: Index):
    with pytest.raises(OutputError), index.reading() as connection:
        connection.execute("DELETE FROM instance")


def test_readers_are_used_again(index: Index):
    for _ in range(10):
        index.find("1.2.3")
    assert len(index._readers) == 1
    with pytest.raises(IndexDamagedError), index.reading() as connection:
        connection.execute("SELECT * FROM no_such_table")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("database or disk is full", "out of disk space"),
        ("database is locked", "the index is locked"),
        ("attempt to write a readonly database", "the index is read-only"),
        ("unable to open database file", "the index cannot be opened"),
        ("disk I/O error", "the index cannot be written"),
        ("database disk image is malformed", "the index is damaged"),
        ("file is not a database", "the index is damaged"),
    ],
)
def test_what_sqlite_says(text: str, message: str):
    error = translate(sqlite3.OperationalError(text))
    assert error.message == message
    assert error.dimse_status == 0xA700
    assert isinstance(error, IndexDamagedError) == ("damaged" in message)


def test_an_unsound_file(tmp_path: Path):
    index = Index(str(tmp_path / "index.sqlite"), "none")
    index.open()
    index.insert([record(f"1.2.{number}") for number in range(200)])
    index.close()
    content = bytearray((tmp_path / "index.sqlite").read_bytes())
    content[4096 * 3 : 4096 * 20] = b"\xff" * 4096 * 17
    (tmp_path / "index.sqlite").write_bytes(content)
    assert not index.is_sound()
    index.close()


def test_a_directory_that_is_missing(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be opened"):
        Index(str(tmp_path / "none" / "index.sqlite")).open()


def test_the_revision_is_another_one_after_every_change(index: Index):
    first = index.revision()
    assert index.revision() == first
    index.insert([record("1.1")])
    second = index.revision()
    assert second != first
    other = Index(index.path, "none")  # another process, say
    other.insert([record("1.2")])
    third = index.revision()
    assert third != second
    assert other.remove([("a/b", "1.2.dcm")]) == 1
    other.close()
    fourth = index.revision()
    assert fourth != third
    index.close()
    fifth = index.revision()
    assert fifth not in (first, second, third, fourth)
    index.after_fork()
    assert index.revision() not in (first, second, third, fourth, fifth)

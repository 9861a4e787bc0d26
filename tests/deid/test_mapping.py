"""Lists of identities: what is accepted, what is told with its line, and who may read them."""

from __future__ import annotations

import csv
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.deid import mapping
from dcmkit.deid.pseudonyms import Given, Patient, Record
from dcmkit.errors import InputError, OutputError, UsageError

RECORD = Record(
    {"P2": Patient("NEW2", "ANON^B", -50), 'Müller, "P1"': Patient("NEW1", "ANON^A", -40)},
    {"A1": "ACC1"},
    {"1.2.4": "2.25.4", "1.2.3": "2.25.3"},
)


def written(path: Path, text: str) -> str:
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id_old,id_new\nP1,S1\n", {"P1": Given("S1")}),
        ("\ufeffid_old,id_new\r\nP1,S1\r\n\r\nP2,S2", {"P1": Given("S1"), "P2": Given("S2")}),
        ("id_old;id_new;name_new\nP1;S1;Doe^One\n", {"P1": Given("S1", "Doe^One")}),
        ("id_old\tid_new\tshift_days\nP1\tS1\t-31\n", {"P1": Given("S1", "", -31)}),
        ("ID_NEW, ID_OLD ,note,shift_days\nS1,P1,hello, 12 \n", {"P1": Given("S1", "", 12)}),
        ('id_old,id_new\n"Doe, ""J""","S 1"\n', {'Doe, "J"': Given("S 1")}),
        ("id_old,id_new,kind\nP1,S1,patient\n1.2,2.25.1,uid\nA,B,accession\n", {"P1": Given("S1")}),
        ("id_old,id_new,name_new\nP1,S1\nP1,S1,\n", {"P1": Given("S1")}),
        ("id_old,id_new\n", {}),
    ],
)
def test_what_is_read(tmp_path: Path, text: str, expected: dict[str, Given]):
    assert mapping.read(written(tmp_path / "map.csv", text)) == expected


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "empty"),
        ("SECRET,S1\n", 1, "column id_old"),
        ("id_old\nSECRET\n", 1, "column id_new"),
        ("id_old,id_new,id_new\nSECRET,S1,S2\n", 1, "column id_new"),
        ("id_old,id_new\nSECRET,\n", 2, "id_new is empty"),
        ("id_old,id_new\nSECRET\n", 2, "id_new is empty"),
        ("id_old,id_new\n,SECRET\n", 2, "id_old is empty"),
        ("id_old,id_new\n\nSECRET,1\nSECRET,2\n", 4, "of line 3 again"),
        ("id_old,id_new\nSECRET,1,2\n", 2, "3 values for 2 columns"),
        ("id_old,id_new\nSECRET,a\\b\n", 2, "backslash"),
        ("id_old,id_new\nSECRET,a\33b\n", 2, "control character"),
        ("id_old,id_new\nSECRET," + "x" * 65 + "\n", 2, "longer than 64"),
        ("id_old,id_new,name_new\nSECRET,1," + "x" * 195 + "\n", 2, "name_new is longer"),
        ("id_old,id_new,shift_days\nSECRET,1,0\n", 2, "not 0"),
        ("id_old,id_new,shift_days\nSECRET,1,SECRET\n", 2, "whole number"),
        ("id_old,id_new,shift_days\nSECRET,1,1.5\n", 2, "whole number"),
        ("id_old,id_new,shift_days\nSECRET,1," + "9" * 5000 + "\n", 2, "whole number"),
        ('id_old,id_new\n"SECRET,1\n', 2, "unexpected end"),
        ('id_old,id_new\n"SECRET"x,1\n', 2, "expected"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str):
    with pytest.raises(UsageError, match=what) as caught:
        mapping.read(written(tmp_path / "map.csv", text))
    assert f"line {line}:" in str(caught.value)
    assert "id_old,id_new" in caught.value.hint
    assert "SECRET" not in str(caught.value)


def test_other_character_sets_are_told(tmp_path: Path):
    path = tmp_path / "map.csv"
    path.write_bytes("id_old,id_new\nP1,S1\nMüller,S2\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"line 3: this is no UTF-8"):
        mapping.read(str(path))


def test_no_file(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        mapping.read(str(tmp_path / "none"))


@given(content=st.binary(max_size=200))
def test_garbage_gives_the_documented_error(content: bytes, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "garbage.csv"
    for start in (b"", b"id_old,id_new\n"):
        path.write_bytes(start + content)
        try:
            mapping.read(str(path))
        except UsageError:
            pass


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_what_is_written_can_be_given_again(tmp_path: Path):
    path = tmp_path / "map.csv"
    assert mapping.write(str(path), RECORD) == [str(path)]
    header, *found = rows(path)
    assert header[:2] == ["id_old", "id_new"]
    assert [row[:3] for row in found] == [
        ['Müller, "P1"', "NEW1", "patient"],
        ["P2", "NEW2", "patient"],
        ["A1", "ACC1", "accession"],
        ["1.2.3", "2.25.3", "uid"],
        ["1.2.4", "2.25.4", "uid"],
    ]
    assert mapping.read(str(path)) == {old: Given(*new) for old, new in RECORD.patients.items()}


@pytest.mark.parametrize("name", ["maps", "map.csv"])
def test_the_form_of_midi_b(tmp_path: Path, name: str):
    first, last = map(Path, mapping.write(str(tmp_path / name), RECORD, "midi-b"))
    assert first.name.endswith("patid_mapping.csv")
    assert last.name.endswith("uid_mapping.csv")
    assert rows(first) == [["id_old", "id_new"], ['Müller, "P1"', "NEW1"], ["P2", "NEW2"]]
    assert rows(last) == [["id_old", "id_new"], ["1.2.3", "2.25.3"], ["1.2.4", "2.25.4"]]


def test_order_does_not_matter(tmp_path: Path):
    turned = Record(*(dict(reversed(part.items())) for part in RECORD))
    mapping.write(str(tmp_path / "one"), RECORD)
    mapping.write(str(tmp_path / "other"), turned)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_only_the_owner_may_read_it(tmp_path: Path):
    path = tmp_path / "map.csv"
    path.write_text("of before")
    path.chmod(0o644)
    (tmp_path / ".map.csv.part").write_text("of a run that was killed")
    before = os.umask(0)
    try:
        files = mapping.write(str(path), RECORD) + mapping.write(str(tmp_path / "maps"), RECORD, "midi-b")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(os.stat(file).st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "maps").stat().st_mode) == 0o700
    assert sorted(one.name for one in tmp_path.iterdir()) == ["map.csv", "maps"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "map.csv"
    path.write_text("of before")
    monkeypatch.setattr(mapping.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        mapping.write(str(path), RECORD)
    assert [one.name for one in tmp_path.iterdir()] == ["map.csv"]
    assert path.read_text() == "of before"
    monkeypatch.undo()
    for where, form in ((tmp_path / "no" / "map", "csv"), (path / "below", "midi-b")):
        with pytest.raises(OutputError, match="cannot be written"):
            mapping.write(str(where), RECORD, form)

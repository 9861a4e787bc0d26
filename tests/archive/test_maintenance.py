"""Looking after an archive: check, rebuild, count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.archive import disk, maintenance
from dcmkit.archive.adding import add
from dcmkit.archive.maintenance import (
    CHANGED,
    DAMAGED,
    MISSING,
    UNINDEXED,
    check,
    rebuild,
    statistics,
)
from dcmkit.archive.slot import Slot
from dcmkit.archive.store import Archive
from dcmkit.errors import ExitCode, OutputError
from tests.archive.objects import archive_in, part10, put, rows, visible


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(root: Path) -> Iterator[Archive]:
    with archive_in(root) as made:
        for number in range(4):
            put(made, f"1.2.{number}", study=f"1.3.{number % 2}", series=f"1.4.{number % 2}")
        made.flush()
        yield made


@pytest.fixture
def outside(tmp_path: Path, archive: Archive) -> Path:
    """A file indexed in place."""
    path = tmp_path / "outside" / "x.dcm"
    path.parent.mkdir()
    path.write_bytes(part10("1.9", study="1.3.9", series="1.4.9"))
    add(archive, [str(path)])
    return path


def differences(archive: Archive, **how: bool) -> list[tuple[str, str]]:
    return sorted((each.kind, each.path) for each in check(archive, **how))


# --- check ---


def test_all_is_well(archive: Archive, outside: Path):
    seen = [0, 0]

    def progress(files: int, size: int) -> None:
        seen[0] += files
        seen[1] += size

    assert list(check(archive, progress=progress)) == []
    assert seen[0] == 5
    assert seen[1] > 0


def test_every_kind_of_difference(archive: Archive, root: Path, outside: Path):
    names = visible(root)
    os.unlink(root / names[0])
    (root / names[1]).write_bytes(part10("1.2.2"))
    (root / "new").mkdir()
    (root / "new" / "file.dcm").write_bytes(part10("1.8"))
    (root / "notes.txt").write_text("nobody's business")
    outside.unlink()
    expected = [(CHANGED, names[1]), (MISSING, str(outside)), (MISSING, names[0]), (UNINDEXED, "new/file.dcm")]
    assert differences(archive) == sorted(expected)
    assert differences(archive, repair=True) == sorted(expected)
    assert differences(archive) == []
    assert rows(archive, "1.8") == ["new/file.dcm"]
    assert rows(archive, "1.9") == []


def test_digests_are_noted_and_then_compared(archive: Archive, root: Path):
    assert differences(archive, digests=True) == []
    path = root / visible(root)[0]
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert differences(archive) == []
    assert differences(archive, digests=True) == [(DAMAGED, visible(root)[0])]
    assert differences(archive, digests=True, repair=True) == [(DAMAGED, visible(root)[0])]
    assert differences(archive, digests=True) == [(DAMAGED, visible(root)[0])]


def test_a_file_that_cannot_be_read(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(path: str) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk, "open_for_reading", fail)
    assert {kind for kind, _ in differences(archive, digests=True)} == {DAMAGED}


# --- rebuild ---


def test_the_index_is_made_anew(archive: Archive, root: Path, outside: Path):
    list(check(archive, digests=True))
    with archive.index.reading() as connection:
        before = connection.execute("SELECT SOPInstanceUID, name, received, digest FROM instance ORDER BY 1").fetchall()
    (root / "new.dcm").write_bytes(part10("1.8"))
    assert rebuild(archive).added == 6
    with archive.index.reading() as connection:
        after = connection.execute("SELECT SOPInstanceUID, name, received, digest FROM instance ORDER BY 1").fetchall()
    assert [row for row in after if row[0] != "1.8"] == before
    assert differences(archive) == []
    assert put(archive, "1.2.77").outcome == "stored"
    assert not list((root / ".dcmkit").glob("*.new*"))


def test_a_rebuild_finds_what_is_gone(archive: Archive, root: Path):
    os.unlink(root / visible(root)[0])
    assert rebuild(archive).added == 3
    assert archive.index.count()["instance"] == 3


def test_objects_stored_although_broken_are_found_again(tmp_path: Path):
    with archive_in(tmp_path / "x", on_invalid="store") as archive:
        put(archive, "1.2.3", b"\x08\0\x18\0UI\x06\x001.2.3\0" + b"\x10\0\x10\0PN\xff\0Doe")
        archive.flush()
        assert rebuild(archive).added == 1


def test_no_rebuild_while_another_process_uses_the_archive(archive: Archive, root: Path):
    other = Slot(str(root / ".dcmkit" / "incoming"))
    with pytest.raises(OutputError, match="another process") as caught:
        rebuild(archive)
    assert caught.value.exit_code == ExitCode.CANNOT_WRITE_OUTPUT
    other.close()
    assert rebuild(archive).added == 4


def test_a_rebuild_that_was_interrupted_leaves_the_old_index(
    archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(maintenance, "fill", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rebuild(archive)
    assert archive.index.count()["instance"] == 4
    assert rebuild(archive).added == 4


# --- statistics ---


def test_counting(archive: Archive, root: Path, outside: Path):
    found = statistics(archive)
    size = sum((root / name).stat().st_size for name in visible(root)) + outside.stat().st_size
    assert found.counts.pop("bytes_of_index") > 4096
    assert found.counts == {"patients": 1, "studies": 3, "series": 3, "instances": 5, "bytes": size}
    assert ("Modality", "CT", 5, size) in found.parts
    assert ("TransferSyntaxUID", "1.2.840.10008.1.2.1", 5, size) in found.parts
    assert ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", 5, size) in found.parts


def test_counting_nothing(tmp_path: Path):
    with archive_in(tmp_path / "x") as archive:
        assert statistics(archive).parts == []
        assert statistics(archive).counts["bytes"] == 0

"""Receiving into a folder without an index."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dcmkit.archive.folder import Folder
from dcmkit.errors import InvalidDataSetError, OutputDirectoryError, UsageError
from tests.archive.objects import CT, EXPLICIT, image

NAME = "1.2.3.1/1.2.3.2/1.2.3.dcm"


def put(folder: Folder, uid: str = "1.2.3", pixels: bytes = b"\1\2\3\4") -> tuple[str, str]:
    incoming = folder.incoming(CT, uid, EXPLICIT, "PEER")
    incoming.begin()
    incoming.write(memoryview(image(uid, pixels=pixels)))
    stored = incoming.commit()
    return os.path.relpath(stored.path, folder.root), stored.outcome


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_object_gets_its_name_when_it_is_complete(tmp_path: Path):
    with Folder(str(tmp_path / "new")) as folder:
        incoming = folder.incoming(CT, "1.2.3", EXPLICIT)
        incoming.write(memoryview(image("1.2.3")))
        (waiting,) = files(tmp_path / "new")
        assert waiting.startswith(".dcmkit-")
        incoming.commit()
        folder.flush()
    assert files(tmp_path / "new") == [NAME]


@pytest.mark.parametrize("abandoned_late", [True, False])
def test_an_abandoned_object_leaves_nothing(tmp_path: Path, abandoned_late: bool):
    folder = Folder(str(tmp_path)).open()
    incoming = folder.incoming(CT, "1.2.3", EXPLICIT)
    incoming.begin()
    if abandoned_late:
        incoming.write(memoryview(image("1.2.3")[:100]))
    incoming.abandon()
    assert files(tmp_path) == []


def test_the_same_content_is_left_and_another_gets_another_name(tmp_path: Path):
    folder = Folder(str(tmp_path)).open()
    assert put(folder) == (NAME, "stored")
    before = os.stat(tmp_path / NAME).st_mtime_ns
    assert put(folder) == (NAME, "identical")
    assert os.stat(tmp_path / NAME).st_mtime_ns == before
    second = NAME.replace(".dcm", "~2.dcm")
    assert put(folder, pixels=b"\5\6\7\x08") == (second, "kept-both")
    assert put(folder, pixels=b"\5\6\7\x08") == (second, "identical")
    assert put(folder) == (NAME, "identical")
    assert files(tmp_path) == sorted([NAME, second])


def test_a_file_that_is_no_dicom_keeps_its_name(tmp_path: Path):
    folder = Folder(str(tmp_path), "image.dcm").open()
    (tmp_path / "image.dcm").write_text("notes")
    assert put(folder) == ("image~2.dcm", "kept-both")
    assert (tmp_path / "image.dcm").read_text() == "notes"


def test_layouts(tmp_path: Path):
    folder = Folder(str(tmp_path), "{PatientID}/{Modality}{SeriesNumber:04}/{SOPInstanceUID}").open()
    assert put(folder) == ("4711/CT0007/1.2.3", "stored")
    with pytest.raises(UsageError):
        Folder(str(tmp_path), "{NoSuchThing}")


def test_uids_that_are_none(tmp_path: Path):
    folder = Folder(str(tmp_path)).open()
    for sop_class, uid in ((CT, "../1.2"), ("x", "1.2.3")):
        with pytest.raises(InvalidDataSetError):
            folder.incoming(sop_class, uid, EXPLICIT)


def test_a_directory_that_cannot_be(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputDirectoryError):
        Folder(str(tmp_path / "file")).open()


def test_unfinished_objects_of_long_ago_go(tmp_path: Path):
    old, new = tmp_path / ".dcmkit-1-aa.part", tmp_path / ".dcmkit-1-bb.part"
    old.write_text("x")
    new.write_text("x")
    os.utime(old, (time.time() - 1e6,) * 2)
    Folder(str(tmp_path)).open()
    assert files(tmp_path) == [new.name]


def test_a_directory_that_vanishes_is_made_again(tmp_path: Path):
    folder = Folder(str(tmp_path)).open()
    put(folder)
    (tmp_path / NAME).unlink()
    (tmp_path / "1.2.3.1/1.2.3.2").rmdir()
    assert put(folder) == (NAME, "stored")

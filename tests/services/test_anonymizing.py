"""What is received is de-identified before it is stored; what cannot be made safe leaves nothing behind, no word."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmkit.archive.filing import IDENTICAL, STORED
from dcmkit.archive.folder import Folder
from dcmkit.archive.store import Archive
from dcmkit.dataset.elements import DataSet, Element, decode, encode
from dcmkit.dataset.part10 import read_file_header
from dcmkit.deid import rules, unnamed
from dcmkit.deid.profile import Plan, parse
from dcmkit.errors import DataSetMismatchError, DcmkitError, InvalidDataSetError, OutputError
from dcmkit.net.association import Association
from dcmkit.services.anonymizing import Anonymization, Anonymizing, NotAnonymizedError
from dcmkit.services.storage import StorageSCP
from dcmkit.settings import ArchiveSettings
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import visible
from tests.deid.test_engine import CT, IMAGE, PSEUDONYMS
from tests.net.server import associate, listening
from tests.services.objects import CONTEXTS, DEFLATED, EXPLICIT, IMPLICIT, begin, fresh_uid, store, until

SECRETS = (b"Smith", b"SMITH", b"John", b"12345", b"20200131")
HOW = Anonymization(Plan(parse("basic")), PSEUDONYMS)


def data_set(uid: str = "1.2.3.4", syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, **more: Element) -> bytes:
    """An image of somebody; `more` are elements, by `tag_` and their tags."""
    changed: DataSet = {int(name.removeprefix("tag_"), 16): one for name, one in more.items()}
    return encode({**IMAGE, 0x00080018: Element("UI", uid), **changed}, syntax)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(ArchiveSettings(output_directory=str(tmp_path / "archive"))) as made:
        yield made


@pytest.fixture
def door(archive: Archive) -> Anonymizing:
    return Anonymizing(archive, archive, HOW)


def left_behind(root: Path) -> list[str]:
    """Files of ours that hold anything of the patient's, wherever they are; and whatever waits."""
    found = [
        str(path) for path in (root / ".dcmkit" / "incoming").rglob("*") if path.name != "owner" and path.is_file()
    ]
    for path in root.rglob("*"):
        if path.is_file() and any(secret in path.read_bytes() for secret in SECRETS):
            found.append(str(path))
    return found


def receive(door: Anonymizing, data: bytes, uid: str = "1.2.3.4", syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> object:
    incoming = door.incoming(CT, uid, syntax, "SMITHS_CT")
    incoming.begin()
    for at in range(0, len(data), 100):
        incoming.write(memoryview(data)[at : at + 100])
    return incoming.commit()


@pytest.mark.parametrize(
    "syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
)
def test_what_is_stored_is_without_identity(archive: Archive, door: Anonymizing, syntax: str) -> None:
    data = data_set(syntax=syntax)
    stored = receive(door, data, syntax=syntax)
    assert stored.outcome == STORED  # type: ignore[attr-defined]
    new = PSEUDONYMS.uid("1.2.3.4")
    assert visible(Path(archive.root)) == [f"{PSEUDONYMS.uid('1.2')}/{PSEUDONYMS.uid('1.2.3')}/{new}.dcm"]
    path = Path(stored.path)  # type: ignore[attr-defined]
    header = read_file_header(path)
    assert (header.sop_instance_uid, header.transfer_syntax_uid) == (new, syntax)
    after = decode(path.read_bytes()[header.offset :], syntax)
    assert after[0x00120062].value == "YES"
    assert after[0x7FE00010].value == b"\1\2"
    assert left_behind(Path(archive.root)) == []
    assert receive(door, data, syntax=syntax).outcome == IDENTICAL  # type: ignore[attr-defined]
    assert door.layout is archive.layout


def test_a_folder_will_do(tmp_path: Path) -> None:
    with Folder(str(tmp_path)) as folder:
        receive(Anonymizing(folder, folder, HOW), data_set())
    assert len(visible(tmp_path)) == 1
    assert left_behind(tmp_path) == []


def test_large_objects_arrive_whole(archive: Archive, door: Anonymizing) -> None:
    pixels = os.urandom(3_000_000)
    stored = receive(door, data_set(tag_7FE00010=Element("OW", pixels)))
    assert pixels in Path(stored.path).read_bytes()  # type: ignore[attr-defined]


def test_while_it_is_on_its_way_nobody_else_can_see_it(archive: Archive, door: Anonymizing) -> None:
    incoming = door.incoming(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    incoming.begin()
    incoming.write(memoryview(data_set()))
    assert left_behind(Path(archive.root)) == []
    assert incoming._file is not None
    assert os.fstat(incoming._file.fd).st_mode & 0o777 == 0o600
    assert os.fstat(incoming._file.fd).st_dev == os.stat(archive.root).st_dev
    incoming.abandon()
    with pytest.raises(OutputError, match="abandoned"):
        incoming.commit()


def test_where_files_need_names_they_are_ours_alone_and_go(
    archive: Archive, door: Anonymizing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unnamed, "_BY_DESCRIPTOR", "/no/such/directory")
    incoming = door.incoming(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    incoming.write(memoryview(data_set()))
    (path,) = set(left_behind(Path(archive.root)))
    assert os.stat(path).st_mode & 0o777 == 0o600
    incoming.commit()
    assert left_behind(Path(archive.root)) == []
    assert len(visible(Path(archive.root))) == 1


REFUSED = {
    "ultrasound": data_set(tag_00080060=Element("CS", "US")),
    "burned in": data_set(tag_00280301=Element("CS", "YES")),
    "no end": data_set()[:-20],
    "no data set": b"Smith, John",
    "nothing": b"",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_made_safe_is_refused_and_nothing_is_kept(
    archive: Archive, door: Anonymizing, what: str
) -> None:
    with pytest.raises(NotAnonymizedError) as caught:
        receive(door, REFUSED[what])
    assert caught.value.dimse_status == 0xC100
    assert caught.value.message
    assert not any(secret.decode() in str(caught.value) for secret in SECRETS)
    assert visible(Path(archive.root)) == []
    assert left_behind(Path(archive.root)) == []


def test_what_is_still_found_afterwards_is_refused(archive: Archive) -> None:
    leaking = data_set(tag_7FE00010=Element("OW", b"\0" * 1000 + b"Smith^John" + b"\0" * 1000))
    with pytest.raises(NotAnonymizedError, match="still there"):
        receive(Anonymizing(archive, archive, HOW), leaking)
    assert visible(Path(archive.root)) == []
    receive(Anonymizing(archive, archive, HOW._replace(verify=False)), leaking)
    assert len(visible(Path(archive.root))) == 1


def test_regions_are_blanked_by_rules(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[pixels]]\nmodality = "US"\nboxes = [[0, 0, 1, 1]]\n')
    read = rules.read(str(tmp_path / "rules.toml"))
    door = Anonymizing(archive, archive, HOW._replace(plan=Plan(parse("basic"), read), rules=read))
    frame: DataSet = {
        0x00280002: Element("US", "1"), 0x00280004: Element("CS", "MONOCHROME2"), 0x00280101: Element("US", "8"),
        0x00280102: Element("US", "7"), 0x00280103: Element("US", "0"), 0x00080060: Element("CS", "US"),
    }  # fmt: skip
    stored = receive(door, encode({**IMAGE, **frame}, EXPLICIT_VR_LITTLE_ENDIAN))
    path = Path(stored.path)  # type: ignore[attr-defined]
    after = decode(path.read_bytes()[read_file_header(path).offset :], EXPLICIT_VR_LITTLE_ENDIAN)
    assert after[0x7FE00010].value == b"\0\2"
    assert left_behind(Path(archive.root)) == []


def test_uids_that_are_not_those_of_the_request(archive: Archive, door: Anonymizing, tmp_path: Path) -> None:
    with pytest.raises(DataSetMismatchError):
        receive(door, data_set("1.2.3.5"))
    assert visible(tmp_path / "archive") == []
    assert left_behind(Path(archive.root)) == []
    with Archive(ArchiveSettings(output_directory=str(tmp_path / "lenient"), on_mismatch="store")) as lenient:
        stored = receive(Anonymizing(lenient, lenient, HOW), data_set("1.2.3.5"))
    assert stored.dimse_status == 0xB007  # type: ignore[attr-defined]
    assert stored.path.endswith(f"{PSEUDONYMS.uid('1.2.3.5')}.dcm")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("uid", "sop_class"), [("../../x", CT), ("", CT), ("1.2.3.4", "a/b"), ("1.2.3.4", "")])
def test_uids_that_are_none(door: Anonymizing, uid: str, sop_class: str) -> None:
    with pytest.raises(InvalidDataSetError, match="not a UID"):
        door.incoming(sop_class, uid, EXPLICIT_VR_LITTLE_ENDIAN)


def test_file_meta_information_in_the_data_set(archive: Archive, door: Anonymizing) -> None:
    incoming = door.incoming(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    incoming.write(memoryview(b"\2"))
    with pytest.raises(InvalidDataSetError, match="file meta information"):
        incoming.write(memoryview(b"\0\1\0UL"))
    incoming.write(memoryview(b"more"))
    with pytest.raises(InvalidDataSetError, match="file meta information"):
        incoming.commit()


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_and_nothing_is_left(
    archive: Archive, door: Anonymizing, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = door.incoming(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    incoming.begin()
    with monkeypatch.context() as patched:
        patched.setattr(unnamed.UnnamedFile, "write", full)
        with pytest.raises(OutputError, match="out of disk space"):
            incoming.write(memoryview(data_set()))
        with pytest.raises(OutputError, match="out of disk space"):
            door.incoming(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN).begin()
    incoming = door.incoming(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    incoming.begin()
    incoming.write(memoryview(data_set()))
    with monkeypatch.context() as patched:
        patched.setattr(unnamed.UnnamedFile, "write", full)
        with pytest.raises(OutputError, match="out of disk space"):
            incoming.commit()
    with pytest.raises(OutputError, match="committed already"):
        incoming.commit()
    assert visible(Path(archive.root)) == []
    assert left_behind(Path(archive.root)) == []


def test_what_the_archive_refuses_leaves_nothing(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        layout = archive.layout

        def incoming(self, *what: str) -> object:
            made = archive.incoming(*what)
            monkeypatch.setattr(type(made), "write", lambda *_: (_ for _ in ()).throw(OutputError("no")))
            return made

    with pytest.raises(OutputError, match="no"):
        receive(Anonymizing(Refusing(), archive, HOW), data_set())  # type: ignore[arg-type]
    assert left_behind(Path(archive.root)) == []
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(DcmkitError):
        receive(Anonymizing(Refusing(), archive, HOW), data_set())  # type: ignore[arg-type]
    assert not descriptors or len(os.listdir("/proc/self/fd")) == descriptors


def test_many_at_a_time(archive: Archive, door: Anonymizing) -> None:
    uids = [fresh_uid() for _ in range(24)]
    threads = [
        threading.Thread(target=lambda part: [receive(door, data_set(uid), uid) for uid in part], args=(uids[at::4],))
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    names = {Path(path).stem for path in visible(Path(archive.root))}
    assert names == {PSEUDONYMS.uid(uid) for uid in uids}


# --- over an association ---


@contextmanager
def receiving(door: Anonymizing) -> Iterator[Association]:
    with listening((StorageSCP(door),)) as listener:
        association = associate(listener.port, *CONTEXTS)
        yield association
        association.release()


@pytest.mark.parametrize(
    ("context", "syntax"),
    [
        (EXPLICIT, EXPLICIT_VR_LITTLE_ENDIAN),
        (IMPLICIT, IMPLICIT_VR_LITTLE_ENDIAN),
        (DEFLATED, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
    ],
)
def test_the_response_names_the_object_that_came_and_the_log_does_not(
    archive: Archive, door: Anonymizing, caplog: pytest.LogCaptureFixture, context: int, syntax: str
) -> None:
    uid = fresh_uid()
    with caplog.at_level(logging.INFO, "dcmkit"), receiving(door) as association:
        response = store(association, data_set(uid, syntax), uid, context_id=context)
        assert (response.status, response.affected_sop_instance_uid) == (0, uid)
    assert f"stored {PSEUDONYMS.uid(uid)} from" in caplog.text
    assert uid not in caplog.text


def test_a_refusal_tells_the_reason_and_nothing_of_the_object(
    archive: Archive, door: Anonymizing, caplog: pytest.LogCaptureFixture
) -> None:
    uid = fresh_uid()
    with caplog.at_level(logging.INFO, "dcmkit"), receiving(door) as association:
        response = store(association, data_set(uid, tag_00080060=Element("CS", "US")), uid)
        assert (response.status, response.affected_sop_instance_uid) == (0xC100, uid)
        assert "ultrasound" in (response.error_comment or "")
        assert store(association, data_set("1.2.3.99"), uid).status == 0xA900
        assert store(association, data_set(uid), uid).status == 0
    assert "refused an object from" in caplog.text
    assert "ultrasound" in caplog.text
    assert uid not in caplog.text
    assert not any(secret.decode() in caplog.text for secret in SECRETS)
    assert len(visible(Path(archive.root))) == 1


def test_who_goes_in_the_middle_leaves_nothing(archive: Archive, door: Anonymizing) -> None:
    with listening((StorageSCP(door),)) as listener:
        association = associate(listener.port, *CONTEXTS)
        begin(association, "1.2.3.4")
        association.send_data_set(EXPLICIT, data_set()[:100], last=False)
        association.close()
    assert until(lambda: left_behind(Path(archive.root)) == [])
    assert visible(Path(archive.root)) == []

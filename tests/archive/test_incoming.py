"""One object on its way in: what is refused, what is stored all the same, what is left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dcmkit.archive import disk
from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DataSetMismatchError, DcmkitError, InvalidDataSetError, OutputError
from tests.archive.objects import CT, EXPLICIT, MR, archive_in, arriving, image, put, rows, visible
from tests.dataset.encoding import SYNTAXES, UNDEFINED, fragments, header

HOSTILE_UIDS = [
    "..", "../../x", "/etc/passwd", "a/b", "a\\b", "C:\\x", "1.2\0.3", "$(reboot)", "1;2", "1" * 300, "", "1..2", "x",
]  # fmt: skip


def content(path: str | Path) -> bytes:
    """The data set in a file."""
    return Path(path).read_bytes()[read_file_header(path).offset :]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 50, 51), tuple(range(0, 400, 7))])
def test_the_data_set_is_stored_as_it_came(tmp_path: Path, syntax: str, cuts: tuple[int, ...]):
    data = image("1.2.3", syntax=syntax)
    with archive_in(tmp_path) as archive:
        stored = put(archive, "1.2.3", data, syntax=syntax, cuts=cuts)
    found = read_file_header(stored.path)
    assert (found.sop_class_uid, found.sop_instance_uid, found.transfer_syntax_uid) == (CT, "1.2.3", syntax)
    assert found.source_ae_title == "SENDER"
    assert content(stored.path) == data


def test_encapsulated_pixel_data_in_pieces(tmp_path: Path):
    data = image(without=[0x7FE00010]) + fragments(os.urandom(100000), os.urandom(5000))
    with archive_in(tmp_path) as archive:
        stored = put(archive, "1.2.3", data, syntax="1.2.840.10008.1.2.5", cuts=tuple(range(100, len(data), 9000)))
    assert content(stored.path) == data


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write, writev = os.write, os.writev
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [parts[0][:50]]))
    data = image(pixels=os.urandom(3000))
    with archive_in(tmp_path) as archive:
        assert content(put(archive, "1.2.3", data, cuts=(500, 900)).path) == data
        monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [parts[0], parts[1][:30]]))
        assert content(put(archive, "1.2.4", image("1.2.4")).path) == image("1.2.4")
        monkeypatch.delattr(os, "writev")
        assert content(put(archive, "1.2.5", image("1.2.5")).path) == image("1.2.5")


# --- UIDs ---


@pytest.mark.parametrize("uid", HOSTILE_UIDS)
@pytest.mark.parametrize("which", ["instance", "class"])
def test_hostile_uids_in_the_request(tmp_path: Path, uid: str, which: str):
    with archive_in(tmp_path / "archive") as archive:
        with pytest.raises(InvalidDataSetError, match="not a UID") as caught:
            archive.incoming(uid if which == "class" else CT, uid if which == "instance" else "1.2.3", EXPLICIT)
        assert caught.value.offending_element == (0x00080018 if which == "instance" else 0x00080016)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("uid", [uid for uid in HOSTILE_UIDS if uid and "\0" not in uid])
@pytest.mark.parametrize("which", ["study", "series"])
def test_hostile_uids_in_the_data_set(tmp_path: Path, uid: str, which: str):
    with archive_in(tmp_path / "archive") as archive:
        with pytest.raises(InvalidDataSetError, match="not a UID"):
            put(archive, **{which: uid})
        assert arriving(tmp_path / "archive") == visible(tmp_path / "archive") == []
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(("uid", "sop_class", "offending"), [("1.2.4", CT, 0x00080018), ("1.2.3", MR, 0x00080016)])
def test_uids_that_differ_from_the_request_are_refused(tmp_path: Path, uid: str, sop_class: str, offending: int):
    with archive_in(tmp_path) as archive:
        with pytest.raises(DataSetMismatchError) as caught:
            put(archive, "1.2.3", image(uid, sop_class=sop_class))
        assert caught.value.offending_element == offending
        assert caught.value.dimse_status == 0xA900
        assert visible(tmp_path) == arriving(tmp_path) == []


def test_uids_that_differ_are_stored_under_those_of_the_data_set(tmp_path: Path):
    data = image("1.2.4", sop_class=MR, pixels=bytes(5000))
    with archive_in(tmp_path, on_mismatch="store") as archive:
        stored = put(archive, "1.2.3", data, cuts=(20, 1000))
        assert stored.dimse_status == 0xB007
        assert "not those of the request" in stored.message
        assert rows(archive, "1.2.4") == ["1.2.3.1/1.2.3.2/1.2.4.dcm"]
        assert rows(archive, "1.2.3") == []
    found = read_file_header(stored.path)
    assert (found.sop_class_uid, found.sop_instance_uid) == (MR, "1.2.4")
    assert content(stored.path) == data
    assert arriving(tmp_path) == []


def test_a_hostile_uid_is_refused_whatever_the_setting(tmp_path: Path):
    with archive_in(tmp_path, on_mismatch="store", on_invalid="store") as archive:
        with pytest.raises(InvalidDataSetError):
            put(archive, "1.2.3", image("../x"))
        assert visible(tmp_path) == []


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018])
def test_a_data_set_without_a_uid(tmp_path: Path, tag: int):
    data = image(without=[tag])
    with archive_in(tmp_path / "a") as archive:
        with pytest.raises(InvalidDataSetError, match="has no SOP") as caught:
            put(archive, "1.2.3", data)
        assert caught.value.offending_element == tag
        assert caught.value.dimse_status == 0xC000
    with archive_in(tmp_path / "b", on_invalid="store") as archive:
        stored = put(archive, "1.2.3", data)
        assert stored.dimse_status == 0xB007
        assert rows(archive, "1.2.3")
        assert content(stored.path) == data


def test_objects_that_belong_to_no_study(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.3", without=[0x0020000D, 0x0020000E])
        put(archive, "1.2.4", without=[0x0020000D, 0x0020000E], patient="other")
        assert visible(tmp_path) == ["unknown/unknown/1.2.3.dcm", "unknown/unknown/1.2.4.dcm"]
        archive.flush()
        assert archive.index.count() == {"patient": 1, "study": 1, "series": 1, "instance": 2}


# --- broken data sets ---

BROKEN = {
    "random": os.urandom(500),
    "truncated": image(pixels=bytes(1000))[:-10],
    "never-ending sequence": image() + header(0x00400275, "SQ", UNDEFINED, EXPLICIT),
    "4 GiB": image() + header(0x7FE10010, "OB", 0xFFFFFFFE, EXPLICIT),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_data_set_is_refused(tmp_path: Path, kind: str):
    with archive_in(tmp_path) as archive:
        with pytest.raises(InvalidDataSetError) as caught:
            put(archive, "1.2.3", BROKEN[kind])
        assert caught.value.dimse_status in (0xC000, 0xA900)
        assert visible(tmp_path) == arriving(tmp_path) == []
        assert put(archive, "1.2.3").outcome == "stored"


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("cuts", [(), (100, 200, 300)])
def test_a_broken_data_set_is_stored_as_it_is_when_asked_for(tmp_path: Path, kind: str, cuts: tuple[int, ...]):
    with archive_in(tmp_path, on_invalid="store") as archive:
        stored = put(archive, "1.2.3", BROKEN[kind], cuts=cuts)
        assert stored.dimse_status == 0xB007
        assert Path(stored.path).read_bytes().endswith(BROKEN[kind])
        assert len(rows(archive, "1.2.3")) == 1


def test_an_empty_data_set(tmp_path: Path):
    for setting in ("reject", "store"):
        with archive_in(tmp_path, on_invalid=setting) as archive:
            with pytest.raises(InvalidDataSetError, match="empty"):
                put(archive, "1.2.3", b"")
            with pytest.raises(InvalidDataSetError, match="empty"):
                archive.incoming(CT, "1.2.3", EXPLICIT).commit()
            assert visible(tmp_path) == arriving(tmp_path) == []


def test_damage_seen_while_it_comes_ends_the_writing(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        incoming = archive.incoming(CT, "1.2.3", EXPLICIT)
        incoming.write(memoryview(image()))
        with pytest.raises(InvalidDataSetError):
            incoming.write(memoryview(header(0xFFFEE000, "", 0, EXPLICIT)))
        assert arriving(tmp_path) == []
        incoming.write(memoryview(bytes(100)))
        with pytest.raises(InvalidDataSetError):
            incoming.commit()


def test_text_of_a_megabyte(tmp_path: Path):
    text = b"\x1b[31m\r\n/" * (1 << 17)
    data = header(0x00100010, "UT", len(text), EXPLICIT) + text + image(without=[0x00100010])
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.3", data, cuts=(1000, 500000))
        assert len(rows(archive, "1.2.3")) == 1


# --- its life ---


def test_abandoned(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        incoming = archive.incoming(CT, "1.2.3", EXPLICIT)
        incoming.write(memoryview(image()))
        assert len(arriving(tmp_path)) == 1
        incoming.abandon()
        incoming.abandon()
        incoming.write(memoryview(b"more"))
        assert arriving(tmp_path) == []
        with pytest.raises(OutputError, match="abandoned"):
            incoming.commit()


def test_committed_twice(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        incoming = archive.incoming(CT, "1.2.3", EXPLICIT)
        incoming.write(memoryview(image()))
        path = incoming.commit().path
        with pytest.raises(OutputError, match="already"):
            incoming.commit()
        incoming.abandon()
        assert os.path.exists(path)


def test_a_disk_that_fills_up_while_an_object_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path) as archive:
        incoming = archive.incoming(CT, "1.2.3", EXPLICIT)
        incoming.write(memoryview(image(pixels=bytes(100))[:-50]))

        def full(fd: int, data: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(os, "write", full)
            with pytest.raises(OutputError, match="out of disk space"):
                incoming.write(memoryview(bytes(50)))
        assert arriving(tmp_path) == []
        with pytest.raises(OutputError, match="out of disk space"):
            incoming.commit()


def test_no_descriptor_is_left_open(tmp_path: Path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    with archive_in(tmp_path, durability="full") as archive:
        put(archive, "1.2.3")
        before = len(os.listdir("/proc/self/fd"))
        for number in range(20):
            for data in (image(f"1.2.{number}"), image("1.2.999"), b"junk", b""):
                try:
                    put(archive, f"1.2.{number}", data)
                except DcmkitError:
                    pass
            archive.incoming(CT, "1.2.3", EXPLICIT).abandon()
        assert len(os.listdir("/proc/self/fd")) == before


def test_memory_stays_flat_for_big_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import tracemalloc

    size = 256 << 20
    monkeypatch.setattr(os, "write", lambda fd, data: len(data))
    monkeypatch.setattr(disk, "sync_data", lambda fd: None)
    piece = memoryview(bytes(1 << 18))
    with archive_in(tmp_path) as archive:
        incoming = archive.incoming(CT, "1.2.3", EXPLICIT)
        incoming.write(memoryview(image(without=[0x7FE00010]) + header(0x7FE00010, "OW", size, EXPLICIT)))
        tracemalloc.start()
        try:
            for _ in range(size // len(piece)):
                incoming.write(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1 << 16
        assert incoming.commit().outcome == "stored"


def test_umask_is_honoured(tmp_path: Path):
    if os.name != "posix":
        pytest.skip("POSIX permissions")
    before = os.umask(0o077)
    try:
        with archive_in(tmp_path) as archive:
            assert os.stat(put(archive).path).st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_an_archive_opened_late(tmp_path: Path):
    """`incoming` works in a process that only made the archive: its slot is made when needed."""
    with archive_in(tmp_path):
        pass
    archive: Archive = archive_in(tmp_path)
    assert put(archive).outcome == "stored"
    archive.close()


# --- the archive is tampered with ---


def test_a_slot_that_somebody_removed_is_made_again(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.3")
        shutil.rmtree(archive.slot().path)
        put(archive, "1.2.4")
        assert len(visible(tmp_path)) == 2
    assert arriving(tmp_path) == []


def test_an_archive_that_was_moved_away_is_not_begun_anew(tmp_path: Path):
    root = tmp_path / "archive"
    with archive_in(root) as archive:
        put(archive, "1.2.3")
        root.rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError):
            put(archive, "1.2.4")
        assert not root.exists()
        (tmp_path / "elsewhere").rename(root)
        put(archive, "1.2.5")
        assert len(visible(root)) == 2

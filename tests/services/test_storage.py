"""C-STORE from a loopback association into a real archive (PS3.4 Annex B)."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import disk
from dcmkit.errors import AssociationAbortedError, NetworkError
from dcmkit.protocol import message as dimse
from dcmkit.protocol.message import C_STORE_RQ, NO_DATA_SET
from dcmkit.services.storage import Received, StorageSCP
from dcmkit.services.verification import echo
from dcmkit.settings import AssociationSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.archive.objects import archive_in
from tests.net.server import ECHO_CONTEXT, Rude, assert_alive, associate, listening, pdv, rq
from tests.services.objects import (
    BIG_ENDIAN,
    CONTEXTS,
    CT,
    EXPLICIT,
    IMPLICIT,
    MR,
    PRIVATE,
    PRIVATE_SOP_CLASS,
    RLE,
    Site,
    answer,
    begin,
    element,
    fresh_uid,
    image,
    implicit_image,
    site,
    store,
    until,
)

BIG_PIXELS = bytes(range(256)) * 16384
"""4 MiB: many PDUs, and several times the receive buffer."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as running:
        yield running
        assert_alive(running.port)
        running.assert_sound()


# --- what is stored ---


def test_what_is_stored_is_what_came(here: Site, caplog: pytest.LogCaptureFixture) -> None:
    uid = fresh_uid()
    data = image(uid, pixels=BIG_PIXELS)
    with caplog.at_level(logging.INFO, "dcmkit.services"):
        response = here.send(data, uid)
    assert response.status == 0
    assert (response.affected_sop_class_uid, response.affected_sop_instance_uid) == (CT, uid)
    assert (response.error_comment, response.offending_element, response.has_data_set) == (None, None, False)
    assert here.data_set(uid) == data
    assert f"stored {uid} from SCU" in caplog.messages
    assert "Doe" not in caplog.text
    assert "4711" not in caplog.text


def test_the_file_says_where_it_came_from(here: Site) -> None:
    uid = fresh_uid()
    association = here.associate(calling_ae_title="MODALITY 7")
    assert store(association, image(uid), uid).status == 0
    association.release()
    (path,) = here.rows(uid)
    head = path.read_bytes()[:1024]
    assert element(0x00020016, b"AE", b"MODALITY 7") in head
    assert element(0x00020010, b"UI", EXPLICIT_VR_LITTLE_ENDIAN.encode()) in head


@pytest.mark.parametrize("context_id", [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE, PRIVATE])
def test_every_syntax_is_stored_in_the_bytes_it_came_in(here: Site, context_id: int) -> None:
    uid = fresh_uid()
    data = {
        EXPLICIT: image(uid),
        IMPLICIT: implicit_image(uid),
        BIG_ENDIAN: big_endian_image(uid),
        RLE: image(uid),
        PRIVATE: implicit_image(uid).replace(CT.encode() + b"\0", PRIVATE_SOP_CLASS.encode().ljust(26, b"\0")),
    }[context_id]
    assert here.send(data, uid, context_id=context_id).status == 0
    assert here.data_set(uid) == data


def big_endian_image(uid: str) -> bytes:
    """The two UIDs and nothing else, in explicit VR big endian."""
    data = b""
    for number, text in ((0x0016, CT), (0x0018, uid)):
        value = text.encode() + b"\0" * (len(text) % 2)
        data += (8).to_bytes(2, "big") + number.to_bytes(2, "big") + b"UI" + len(value).to_bytes(2, "big") + value
    return data


def test_a_data_set_in_the_smallest_pieces(here: Site) -> None:
    uid = fresh_uid()
    data = image(uid)
    association = here.associate()
    begin(association, uid)
    for at in range(len(data)):
        association.send_data_set(EXPLICIT, data[at : at + 1], last=at == len(data) - 1)
    assert answer(association).status == 0
    association.release()
    assert here.data_set(uid) == data


def test_a_command_and_two_pieces_of_its_data_set_in_one_pdu(here: Site) -> None:
    uid = fresh_uid()
    data = image(uid)
    command = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid=uid).encode()
    pieces = pdv(EXPLICIT, 3, command)[6:] + pdv(EXPLICIT, 0, data[:100])[6:] + pdv(EXPLICIT, 2, data[100:])[6:]
    with Rude(here.port) as rude:
        rude.associate(rq(CONTEXTS)).send(b"\4\0" + len(pieces).to_bytes(4, "big") + pieces)
        response = dimse.decode(rude.read()[1][6:])
    assert getattr(response, "status", None) == 0
    assert here.data_set(uid) == data


def test_requests_sent_ahead_are_answered_in_order(here: Site) -> None:
    uids = [fresh_uid() for _ in range(5)]
    association = here.associate()
    ids = []
    for uid in uids:
        ids.append(begin(association, uid))
        association.send_data_set(EXPLICIT, image(uid), last=True)
    responses = [answer(association) for _ in uids]
    association.release()
    assert [response.message_id_being_responded_to for response in responses] == ids
    assert [response.affected_sop_instance_uid for response in responses] == uids
    assert {response.status for response in responses} == {0}


def test_without_an_archive_objects_are_received_and_forgotten(tmp_path: Path) -> None:
    with listening((StorageSCP(None),)) as listener:
        association = associate(listener.port, *CONTEXTS)
        assert store(association, b"no data set at all", "1.2.3").status == 0
        assert store(association, BIG_PIXELS, "1.2.3").status == 0
        association.release()
    assert list(tmp_path.iterdir()) == []


# --- what is refused, with what status ---


def test_a_sop_class_that_is_not_the_contexts(here: Site) -> None:
    association = here.associate()
    uid = fresh_uid()
    response = store(association, image(uid, sop_class=MR, pixels=BIG_PIXELS), uid, sop_class=MR)
    assert response.status == 0x0122
    assert response.error_comment == "SOP class is not that of the presentation context"
    assert store(association, image(uid), uid).status == 0
    association.release()


@pytest.mark.parametrize("sop_class", [CT, MR])
def test_a_request_without_a_data_set(here: Site, sop_class: str) -> None:
    association = here.associate()
    association.send(
        EXPLICIT,
        C_STORE_RQ(
            message_id=1,
            affected_sop_class_uid=sop_class,
            affected_sop_instance_uid="1.2.3",
            command_data_set_type=NO_DATA_SET,
        ),
    )
    response = answer(association)
    assert response.status == (0xC000 if sop_class == CT else 0x0122)
    assert echo(association) < 5
    association.release()


@pytest.mark.parametrize(
    ("data", "status", "tag"),
    [
        (image("1.2.99"), 0xA900, 0x00080018),
        (image("1.2.3.4.5", sop_class=MR), 0xA900, 0x00080016),
        (image("1.2.3.4.5")[:-1], 0xC000, 0x7FE00010),
        (image("1.2.3.4.5").replace(element(0x00080018, b"UI", b"1.2.3.4.5"), b""), 0xC000, 0x00080018),
        (image("1.2.3.4.5", study="../x"), 0xC000, 0x0020000D),
    ],
    ids=["another instance", "another class", "truncated", "no instance UID", "study UID that is none"],
)
def test_the_response_names_the_offending_element(
    here: Site, data: bytes, status: int, tag: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = here.send(data, "1.2.3.4.5")
    assert (response.status, response.offending_element) == (status, (tag,))
    assert response.error_comment
    assert f"refused 1.2.3.4.5 from SCU with status 0x{status:04X}: {response.error_comment}" in caplog.messages
    assert here.files() == []


def test_which_abstract_syntaxes_are_storage() -> None:
    everything, known = StorageSCP(None), StorageSCP(None, known_only=True)
    for syntax, in_everything, in_known in (
        (CT, (), ()),
        (PRIVATE_SOP_CLASS, (), None),
        (VERIFICATION, None, None),
        ("1.2.840.10008.5.1.4.1.2.2.1", None, None),
    ):
        assert everything.transfer_syntaxes(syntax) == in_everything
        assert known.transfer_syntaxes(syntax) == in_known


# --- duplicates and settings ---


def test_the_same_again_is_success_without_a_write(here: Site) -> None:
    uid = fresh_uid()
    assert here.send(image(uid), uid).status == 0
    (path,) = here.files()
    before = path.stat()
    assert here.send(image(uid), uid).status == 0
    assert here.files() == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("policy", "status", "kept"),
    [
        ("keep", 0, [b"old!"]),
        ("replace", 0, [b"new!"]),
        ("reject", 0x0111, [b"old!"]),
        ("keep-both", 0, [b"new!", b"old!"]),
    ],
)
def test_other_content_under_the_same_uid(
    tmp_path: Path, policy: str, status: int, kept: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with site(tmp_path, on_duplicate=policy) as here:
        uid = fresh_uid()
        assert here.send(image(uid, pixels=b"old!"), uid).status == 0
        assert here.send(image(uid, pixels=b"new!"), uid).status == status
        assert sorted(path.read_bytes()[-4:] for path in here.files()) == kept
        assert len(here.rows(uid)) == len(kept)
        assert uid in caplog.messages[-1]  # never silently
        here.assert_sound()


def test_a_mismatch_may_be_stored_with_a_warning(tmp_path: Path) -> None:
    with site(tmp_path, on_mismatch="store") as here:
        assert here.send(image("1.2.77"), "1.2.88").status == 0xB007
        assert here.data_set("1.2.77") == image("1.2.77")
        assert here.rows("1.2.88") == []
        here.assert_sound()


def test_what_cannot_be_read_may_be_stored_with_a_warning(tmp_path: Path) -> None:
    with site(tmp_path, on_invalid="store") as here:
        assert here.send(image("1.2.77")[:-1], "1.2.77").status == 0xB007
        assert here.data_set("1.2.77") == image("1.2.77")[:-1]


# --- when the archive fails ---


@contextmanager
def failing(owner: Any, name: str, number: int, *, after: int = 0) -> Iterator[None]:
    """`owner.name` raises OSError `number`, from the call after the first `after` ones on."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def call(*args: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number), "/a/path/of/this/machine")
        return real(*args, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, call)
        yield


PLACES = [(disk, "create"), (os, "writev"), (os, "write"), (disk, "sync_data"), (disk, "give_name")]


@pytest.mark.skipif(not hasattr(os, "writev"), reason="writes go another way here")
@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[name for _, name in PLACES])
def test_a_full_disk_is_said_and_the_association_goes_on(
    here: Site, owner: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    uid = fresh_uid()
    association = here.associate()
    with failing(owner, name, errno.ENOSPC):
        response = store(association, image(uid, pixels=BIG_PIXELS), uid)
    assert (response.status, response.error_comment) == (0xA700, "out of disk space")
    (line,) = caplog.messages
    assert line.startswith(f"refused {uid} from SCU with status 0xA700: out of disk space ([Errno 28] ")
    assert "/a/path/of/this/machine" in line  # for whoever runs the archive
    assert here.arriving() == []
    assert here.files() == []
    assert here.rows(uid) == []
    assert store(association, image(uid, pixels=BIG_PIXELS), uid).status == 0  # there is room again
    association.release()


def test_a_layout_of_patients_names_never_reaches_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with site(tmp_path, layout="{PatientName}/{SOPInstanceUID}.dcm") as here:
        (here.root / "Doe^Jane").write_bytes(b"where a directory must be")
        assert here.send(image("1.2.3"), "1.2.3").status == 0xA700
        (here.root / "Doe^Jane").unlink()
        with failing(os, "makedirs", errno.EACCES):
            assert here.send(image("1.2.3"), "1.2.3").status == 0xA700
        assert here.send(image("1.2.3"), "1.2.3").status == 0
    assert len([line for line in caplog.messages if line.startswith("refused 1.2.3 from SCU with status 0xA700")]) == 2
    assert "Doe" not in caplog.text


def test_a_disk_that_fills_up_in_mid_object(here: Site) -> None:
    uids = [fresh_uid() for _ in range(3)]
    association = here.associate()
    for uid in uids:
        with failing(os, "write", errno.ENOSPC, after=3):
            assert store(association, image(uid, pixels=BIG_PIXELS), uid).status == 0xA700
        assert here.arriving() == []
        assert echo(association) < 5
    association.release()


@pytest.mark.parametrize(
    ("number", "comment"),
    [
        (errno.EDQUOT, "out of disk quota"),
        (errno.EROFS, "the archive is read-only"),
        (errno.EACCES, "no permission to write to the archive"),
        (errno.EMFILE, "out of file descriptors"),
        (errno.EIO, "input/output error of the disk"),
        (errno.EFBIG, "cannot write: File too large"),
    ],
)
def test_what_else_goes_wrong_is_said_without_a_path(here: Site, number: int, comment: str) -> None:
    with failing(disk, "create", number):
        response = here.send(image("1.2.77"), "1.2.77")
    assert (response.status, response.error_comment) == (0xA700, comment)
    assert response.offending_element is None
    assert here.send(image("1.2.77"), "1.2.77").status == 0


def test_a_defect_ends_the_association_and_no_more(here: Site, caplog: pytest.LogCaptureFixture) -> None:
    uid = fresh_uid()
    association = here.associate()
    with pytest.MonkeyPatch.context() as patch:

        def defect(*_: object) -> None:
            raise RuntimeError("boom")

        patch.setattr(disk, "give_name", defect)
        with pytest.raises(NetworkError):
            store(association, image(uid), uid)
    assert "association ended by a defect in dcmkit: RuntimeError('boom')" in caplog.messages
    assert here.files() == []
    assert here.send(image(uid), uid).status == 0


# --- when the peer fails ---


def half_an_object(here: Site) -> Any:
    """An association in the middle of a data set of which something is on disk already."""
    association = here.associate()
    uid = fresh_uid()
    begin(association, uid)
    association.send_data_set(EXPLICIT, image(uid, pixels=BIG_PIXELS)[:2_000_000], last=False)
    assert until(lambda: bool(here.arriving()))
    return association


@pytest.mark.parametrize("how", ["abort", "close", "a message of its own"])
def test_a_peer_that_leaves_in_mid_object_leaves_nothing(here: Site, how: str) -> None:
    association = half_an_object(here)
    if how == "abort":
        association.abort()
    elif how == "close":
        association.close()
    else:
        begin(association, "1.2.3", EXPLICIT)
        with pytest.raises(AssociationAbortedError):
            association.receive()
    assert until(lambda: not here.arriving())
    assert here.files() == []


def test_a_peer_that_falls_silent_in_mid_object_is_given_up(tmp_path: Path) -> None:
    settings = AssociationSettings(calling_ae_title="SCP", socket_timeout=0.1)
    with site(tmp_path, association=settings) as here:
        association = half_an_object(here)
        with pytest.raises(AssociationAbortedError):
            association.receive()
        here.assert_sound()


def test_an_echo_beside_an_object_on_its_way(here: Site) -> None:
    association = half_an_object(here)
    assert_alive(here.port)
    association.abort()


def test_verification_and_storage_in_one_association(here: Site) -> None:
    association = here.associate()
    for _ in range(3):
        uid = fresh_uid()
        assert store(association, image(uid), uid).status == 0
        assert echo(association) < 5
    association.release()
    assert ECHO_CONTEXT in association.rq.presentation_contexts


def test_who_receives_can_be_told_of_every_object(tmp_path: Path) -> None:
    told: list[Received] = []
    with archive_in(tmp_path) as archive, listening((StorageSCP(archive, on_object=told.append),)) as listener:
        association = associate(listener.port, *CONTEXTS)
        uid = fresh_uid()
        assert store(association, image(uid), uid).status == 0
        assert store(association, b"nonsense", "1.2.3").status == 0xC000
        association.release()
    assert [received.rq.affected_sop_instance_uid for received in told] == [uid, "1.2.3"]
    assert [received.status for received in told] == [0, 0xC000]
    assert Path(told[0].path).is_file()
    assert told[1].path == ""
    assert told[1].comment

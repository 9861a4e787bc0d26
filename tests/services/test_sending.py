"""One C-STORE after the other, as sub-operations too. What is sent how is tested with `storage_scu`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import NoPresentationContextError, ProtocolError
from dcmkit.net.association import Association
from dcmkit.pixels.guard import close as end_workers
from dcmkit.pixels.plan import named
from dcmkit.pixels.transcode import transcode_file
from dcmkit.protocol.message import C_CANCEL_RQ, C_STORE_RQ, C_STORE_RSP, Message
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.sending import File, Sender
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.net.server import associate, listening
from tests.pixels.test_transcode import made
from tests.services.objects import CT, MR, fresh_uid, image, part10


class Acceptor:
    """Takes objects, and may cancel what they are part of before it answers."""

    def __init__(self, cancels: int = 0, accepts: tuple[str, ...] = ()) -> None:
        self.requests: list[C_STORE_RQ] = []
        self.sizes: list[int] = []
        self._accepts = accepts
        self.handlers = {C_STORE_RQ: self._store}
        self._cancels = cancels

    def transfer_syntaxes(self, abstract_syntax: str) -> tuple[str, ...] | None:
        return self._accepts if abstract_syntax == CT else None

    def _store(self, association: Association, context_id: int, message: Message) -> None:
        assert isinstance(message, C_STORE_RQ)
        self.sizes.append(sum(len(piece) for piece in association.fragments()))
        self.requests.append(message)
        for number in range(self._cancels):
            association.send(context_id, C_CANCEL_RQ(message_id_being_responded_to=number + 7))
        association.send(context_id, C_STORE_RSP(message_id_being_responded_to=message.message_id, status=0))


def stored(directory: Path, sop_class: str = CT) -> File:
    uid = fresh_uid()
    path = directory / uid
    path.write_bytes(part10(uid, image(uid, sop_class=sop_class), sop_class=sop_class))
    return File(str(path), read_file_header(path))


@pytest.fixture(autouse=True)
def no_workers_left():
    yield
    end_workers()


CONTEXT = PresentationContextRQ(1, CT, (EXPLICIT_VR_LITTLE_ENDIAN,))


def test_a_sub_operation_says_whose_it_is(tmp_path: Path):
    acceptor = Acceptor()
    with listening((acceptor,)) as listener:
        association = associate(listener.port, CONTEXT)
        sender = Sender(association, originator=("WORKSTATION", 42))
        one, two = stored(tmp_path), stored(tmp_path)
        assert sender.store(one, two).stored
        assert sender.store(two).stored
        sender.close()
        association.release()
    assert [(rq.move_originator_ae_title, rq.move_originator_message_id) for rq in acceptor.requests] == [
        ("WORKSTATION", 42)
    ] * 2


def test_a_cancel_in_place_of_a_response_is_told(tmp_path: Path):
    cancelled: list[int] = []
    with listening((Acceptor(cancels=2),)) as listener:
        association = associate(listener.port, CONTEXT)
        assert Sender(association, on_cancel=cancelled.append).store(stored(tmp_path)).stored
        association.release()
    assert cancelled == [7, 8]


def test_where_nothing_can_be_cancelled_a_cancel_is_an_error(tmp_path: Path):
    with listening((Acceptor(cancels=1),)) as listener:
        association = associate(listener.port, CONTEXT)
        with pytest.raises(ProtocolError, match="C_CANCEL_RQ"):
            Sender(association).store(stored(tmp_path))


def test_what_cannot_be_sent_is_an_outcome(tmp_path: Path):
    with listening((Acceptor(),)) as listener:
        association = associate(listener.port, CONTEXT)
        sender = Sender(association)
        gone, other = stored(tmp_path), stored(tmp_path, MR)
        Path(gone.path).unlink()
        assert sender.store(gone).status is None
        sent = sender.store(other)
        assert isinstance(sent.error, NoPresentationContextError)
        assert sender.store(stored(tmp_path)).stored
        association.release()


def test_another_file_than_the_one_read_ahead(tmp_path: Path):
    acceptor = Acceptor()
    with listening((acceptor,)) as listener:
        association = associate(listener.port, CONTEXT)
        sender = Sender(association)
        first, ahead, third = (stored(tmp_path) for _ in range(3))
        sender.store(first, ahead)
        sender.store(third)
        association.release()
    uids = [rq.affected_sop_instance_uid for rq in acceptor.requests]
    assert uids == [first.header.sop_instance_uid, third.header.sop_instance_uid]


def compressed(tmp_path: Path, frames: int = 1) -> File:
    """An object in RLE."""
    native, path = made(tmp_path / "native", "12 bits", frames), tmp_path / "rle"
    native.write_bytes(native.read_bytes().replace(b"UI\x04\x001.2\0", b"UI\x1a\x00" + CT.encode() + b"\0"))
    transcode_file(native, path, named("rle"))
    return File(str(path), read_file_header(path))


@pytest.mark.parametrize(("accepted", "frames"), [("jpegls", 1), ("htj2k", 1), ("explicit", 400)])
def test_what_is_not_taken_is_converted(tmp_path: Path, accepted: str, frames: int):
    acceptor = Acceptor(accepts=(named(accepted),))
    file = compressed(tmp_path, frames)
    with listening((acceptor,)) as listener:
        association = associate(listener.port, PresentationContextRQ(1, CT, (named(accepted),)))
        sent = Sender(association).store(file)
        association.release()
    assert (sent.stored, sent.transcoded, sent.error) == (True, True, None)
    assert acceptor.requests[0].affected_sop_instance_uid == "1.2.3"
    assert acceptor.sizes[0] > 64 * 48 * 2 * frames if accepted == "explicit" else acceptor.sizes[0]


def test_loss_is_told_and_makes_another_instance(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    acceptor = Acceptor(accepts=(named("jpeg-extended"),))
    file = compressed(tmp_path)
    with listening((acceptor,)) as listener:
        association = associate(listener.port, PresentationContextRQ(1, CT, (named("jpeg-extended"),)))
        assert Sender(association).store(file).transcoded
        association.release()
    assert acceptor.requests[0].affected_sop_instance_uid.startswith("2.25.")
    assert "with loss" in caplog.text

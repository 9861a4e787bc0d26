"""A listener in this process for tests, and raw sockets to be rude to it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dcmkit.net.association import Association
from dcmkit.net.dispatch import AssociationThreads
from dcmkit.net.listener import Listener, bind
from dcmkit.protocol.pdu import AssociateRQ, PresentationContextRQ
from dcmkit.protocol.user_information import UserInformation
from dcmkit.services.application_entity import ApplicationEntity, Service
from dcmkit.services.association_request import association_request
from dcmkit.services.verification import VerificationSCP, echo
from dcmkit.settings import AssociationSettings, ListenerSettings, RequestorSettings
from dcmkit.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION

ECHO_CONTEXT = PresentationContextRQ(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))


@contextmanager
def listening(
    services: Sequence[Service] = (),
    association: AssociationSettings | None = None,
    settings: ListenerSettings | None = None,
    *,
    artim: float = 30.0,
    grace: float = 10.0,
) -> Iterator[Listener]:
    """A running listener with C-ECHO and `services`; stopped in order at the end."""
    association = association or AssociationSettings(calling_ae_title="SCP")
    settings = settings or ListenerSettings()
    ae = ApplicationEntity((VerificationSCP(), *services), association, settings)
    threads = AssociationThreads(
        ae.decide, ae.serve, association, limit=settings.max_associations, idle_timeout=settings.idle_timeout
    )
    listener = Listener(bind(("127.0.0.1",), 0), threads, artim=artim, grace=grace)
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        yield listener
    finally:
        listener.stop()
        thread.join(30)
        assert not thread.is_alive()


def associate(port: int, *contexts: PresentationContextRQ, **settings: object) -> Association:
    """An association with a listener on this machine."""
    chosen = RequestorSettings(calling_ae_title="SCU", called_ae_title="SCP").replace(**settings)
    return Association.request("127.0.0.1", port, association_request(chosen, contexts or (ECHO_CONTEXT,)), chosen)


def assert_alive(port: int) -> None:
    """Another association still gets its C-ECHO answered."""
    association = associate(port)
    assert echo(association) < 2
    association.release()


def rq(contexts: Sequence[PresentationContextRQ] = (ECHO_CONTEXT,), **changes: object) -> AssociateRQ:
    """An A-ASSOCIATE-RQ to be sent raw."""
    values = {
        "called_ae_title": "SCP",
        "calling_ae_title": "SCU",
        "presentation_contexts": tuple(contexts),
        "user_information": UserInformation(maximum_length=16384, implementation_class_uid="1.2.3"),
        **changes,
    }
    return AssociateRQ(**values)  # type: ignore[arg-type]


class Rude:
    """A raw connection: sends any bytes, reads whole PDUs."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Rude:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Rude:
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has had enough already
        return self

    def associate(self, request: AssociateRQ | None = None) -> Rude:
        """Ask for an association and take the acceptance."""
        pdu_type, _ = self.send((request or rq()).encode()).read()
        assert pdu_type == 2
        return self

    def read(self) -> tuple[int, bytes]:
        """The next PDU: its type and body; (0, b"") at the end of the connection."""
        header = self._exactly(6)
        if not header:
            return 0, b""
        pdu_type, length = struct.unpack(">BxI", header)
        return pdu_type, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self.sock.recv(count - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                return data
            data += piece
        return data


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    """A P-DATA-TF with one PDV."""
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, context_id, control) + data

"""A DICOM requestor of a few dozen lines, and a tap that keeps what a sender put on the wire.

Independent of dcmkit on purpose: it judges dcmkit. It is strict about what it receives and knows only what the
interop tests and the benchmarks need (PS3.8 9.3, PS3.7 9.3.1 and 9.3.5).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030
NO_DATA_SET, WITH_DATA_SET = 0x0101, 0x0001
READ_CHUNK = 1 << 16


class WireError(Exception):
    """The peer did not do what it had to: refused, aborted, closed, or answered with garbage."""


class Message(NamedTuple):
    """One DIMSE message as it crossed the wire: command elements by tag, and the data set's own bytes."""

    context_id: int
    command: dict[int, bytes]
    data_set: bytes

    def uid(self, tag: int) -> str:
        """The UID in a command element, without its padding."""
        return self.command[tag].rstrip(b"\0 ").decode("ascii")

    def number(self, tag: int) -> int:
        """The US value of a command element."""
        return int.from_bytes(self.command[tag][:2], "little")


def item(item_type: int, content: bytes) -> bytes:
    """An item or sub-item with its 16 bit length (PS3.8 9.3.2)."""
    return struct.pack(">BBH", item_type, 0, len(content)) + content


def associate_rq(
    contexts: list[tuple[str, list[str]]], calling: str, called: str, maximum_length: int, more: bytes = b""
) -> bytes:
    """A-ASSOCIATE-RQ; context ids are 1, 3, 5 ... in the order of `contexts` (PS3.8 9.3.2).

    `more`: further items of user information.
    """
    items = item(0x10, APPLICATION_CONTEXT_NAME.encode())
    for index, (abstract_syntax, transfer_syntaxes) in enumerate(contexts):
        syntaxes = item(0x30, abstract_syntax.encode())
        syntaxes += b"".join(item(0x40, syntax.encode()) for syntax in transfer_syntaxes)
        items += item(0x20, bytes((2 * index + 1, 0, 0, 0)) + syntaxes)
    user_information = item(0x51, struct.pack(">I", maximum_length)) + item(0x52, b"1.2.826.0.1.3680043.9.9999.1")
    items += item(0x50, user_information + more)
    fixed = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
    return struct.pack(">BBI", 1, 0, len(fixed) + len(items)) + fixed + items


def command_set(elements: list[tuple[int, bytes]]) -> bytes:
    """A command set in implicit VR little endian with its group length (PS3.7 6.3.1)."""
    body = b"".join(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def parse_command_set(data: bytes) -> dict[int, bytes]:
    """The elements of a command set by tag."""
    elements, position = {}, 0
    while position < len(data):
        group, element, length = struct.unpack_from("<HHI", data, position)
        if position + 8 + length > len(data):
            raise WireError("command element runs past its command set")
        elements[group << 16 | element] = data[position + 8 : position + 8 + length]
        position += 8 + length
    return elements


def padded(uid: str) -> bytes:
    """A UID at even length (PS3.5 9.1)."""
    return uid.encode() + b"\0" * (len(uid) % 2)


def number(value: int) -> bytes:
    """A US value."""
    return struct.pack("<H", value)


class Requestor:
    """An association asked for by us. Any trouble is a `WireError` or an `OSError`."""

    def __init__(
        self,
        port: int,
        contexts: list[tuple[str, list[str]]] | None = None,
        *,
        calling: str = "WIRE",
        called: str = "ANY-SCP",
        timeout: float = 20.0,
        user_information: bytes = b"",
    ) -> None:
        contexts = contexts or [(VERIFICATION, [IMPLICIT_VR_LITTLE_ENDIAN])]
        self._message_id = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.accepted: dict[str, dict[str, int]] = {}
        self.maximum_length = 0
        try:
            self._socket.sendall(associate_rq(contexts, calling, called, 65536, user_information))
            self._read_answer(contexts)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Requestor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.release()
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket without a word."""
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            piece = self._socket.recv(READ_CHUNK)
            if not piece:
                raise WireError("the peer closed the connection")
            self._buffer += piece
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _pdu(self) -> tuple[int, bytes]:
        pdu_type, _, length = struct.unpack(">BBI", self._exactly(6))
        return pdu_type, self._exactly(length)

    def _read_answer(self, contexts: list[tuple[str, list[str]]]) -> None:
        pdu_type, body = self._pdu()
        if pdu_type != 2:
            raise WireError(f"association not accepted: PDU type {pdu_type}, {body.hex()}")
        for item_type, content in items_of(body[68:]):
            if item_type == 0x21 and content[2] == 0:
                syntax = next(value for kind, value in items_of(content[4:]) if kind == 0x40).rstrip(b"\0 ").decode()
                self.accepted.setdefault(contexts[content[0] // 2][0], {})[syntax] = content[0]
            elif item_type == 0x50:
                lengths = [value for kind, value in items_of(content) if kind == 0x51]
                self.maximum_length = int.from_bytes(lengths[0], "big") if lengths else 0

    def _send(self, context_id: int, data: bytes, *, command: bool) -> None:
        room = (self.maximum_length or 65536) - 6
        for start in range(0, len(data), room):
            piece = data[start : start + room]
            control = int(command) | (2 if start + room >= len(data) else 0)
            header = struct.pack(">BBIIBB", 4, 0, len(piece) + 6, len(piece) + 2, context_id, control)
            self._socket.sendall(header + piece)

    def _response(self) -> Message:
        parts: list[bytes] = []
        while True:
            pdu_type, body = self._pdu()
            if pdu_type != 4:
                raise WireError(f"expected P-DATA-TF, got PDU type {pdu_type}, {body.hex()}")
            for context_id, control, value in pdvs_of(body):
                parts.append(value)
                if control & 2:
                    return Message(context_id, parse_command_set(b"".join(parts)), b"")

    def echo(self) -> int:
        """One C-ECHO; its status (PS3.7 9.3.5)."""
        self._message_id = self._message_id % 65535 + 1
        elements = [
            (0x00000002, padded(VERIFICATION)),
            (0x00000100, number(C_ECHO_RQ)),
            (0x00000110, number(self._message_id)),
            (0x00000800, number(NO_DATA_SET)),
        ]
        self._send(next(iter(self.accepted[VERIFICATION].values())), command_set(elements), command=True)
        return self._response().number(0x00000900)

    def store(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, data_set: bytes) -> int:
        """One C-STORE; its status (PS3.7 9.3.1)."""
        self._message_id = self._message_id % 65535 + 1
        elements = [
            (0x00000002, padded(sop_class_uid)),
            (0x00000100, number(C_STORE_RQ)),
            (0x00000110, number(self._message_id)),
            (0x00000700, number(0)),
            (0x00000800, number(WITH_DATA_SET)),
            (0x00001000, padded(sop_instance_uid)),
        ]
        context_id = self.accepted.get(sop_class_uid, {}).get(transfer_syntax_uid)
        if context_id is None:
            raise WireError(f"{sop_class_uid} in {transfer_syntax_uid} was not accepted")
        self._send(context_id, command_set(elements), command=True)
        self._send(context_id, data_set, command=False)
        return self._response().number(0x00000900)

    def release(self) -> None:
        """A-RELEASE and the peer's answer (PS3.8 9.3.6, 9.3.7)."""
        self._socket.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        pdu_type, _ = self._pdu()
        if pdu_type != 6:
            raise WireError(f"expected A-RELEASE-RP, got PDU type {pdu_type}")


def items_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The items of a PDU's variable part."""
    position = 0
    while position + 4 <= len(data):
        item_type, _, length = struct.unpack_from(">BBH", data, position)
        yield item_type, data[position + 4 : position + 4 + length]
        position += 4 + length


def pdvs_of(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Context id, message control header and value of each PDV of a P-DATA-TF (PS3.8 9.3.5.1)."""
    position = 0
    while position < len(body):
        length, context_id, control = struct.unpack_from(">IBB", body, position)
        yield context_id, control, body[position + 6 : position + 4 + length]
        position += 4 + length


def messages_of(stream: bytes) -> Iterator[Message]:
    """The DIMSE messages in one direction of a connection."""
    position, command, command_parts, data_parts = 0, {}, [], []
    while position + 6 <= len(stream):
        pdu_type, _, length = struct.unpack_from(">BBI", stream, position)
        body = stream[position + 6 : position + 6 + length]
        position += 6 + length
        for context_id, control, value in pdvs_of(body) if pdu_type == 4 else ():
            (command_parts if control & 1 else data_parts).append(value)
            if control == 3:
                command, command_parts = parse_command_set(b"".join(command_parts)), []
            if control == 2 or (control == 3 and command[0x00000800][:2] == number(NO_DATA_SET)):
                yield Message(context_id, command, b"".join(data_parts))
                data_parts = []


class Tap:
    """A relay on the loopback that keeps every byte its clients send. `port` is where to connect."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._streams: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Tap:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)

    def messages(self) -> list[Message]:
        """Every message sent so far, over all connections."""
        return [message for stream in self._streams for message in messages_of(bytes(stream))]

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            stream = bytearray()
            self._streams.append(stream)
            self._start(self._relay, client, stream)

    def _relay(self, client: socket.socket, stream: bytearray) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target_port), 20) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(None)
            answers = threading.Thread(target=pump, args=(server, client, None), daemon=True)
            answers.start()
            pump(client, server, stream)
            answers.join()


def pump(source: socket.socket, sink: socket.socket, keep: bytearray | None) -> None:
    """Carry bytes from `source` to `sink` until the end, keeping a copy where one is wanted."""
    quick = getattr(socket, "TCP_QUICKACK", None)
    with contextlib.suppress(OSError):
        while piece := source.recv(READ_CHUNK):
            if quick is not None:  # else a sender that waits for our acknowledgement waits 40 ms each time
                source.setsockopt(socket.IPPROTO_TCP, quick, 1)
            if keep is not None:
                keep += piece
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

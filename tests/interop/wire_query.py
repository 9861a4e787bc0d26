"""C-FIND, C-GET and C-MOVE from a bare socket, with identifiers that are packed and unpacked here.

Independent of dcmkit, like `wire`, on purpose. Identifiers are implicit VR little endian; values are bytes, so that a
test says itself in which character set they are (PS3.7 9.1.2 to 9.1.4, PS3.4 C.4).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from .wire import (
    IMPLICIT_VR_LITTLE_ENDIAN,
    NO_DATA_SET,
    WITH_DATA_SET,
    Message,
    Requestor,
    WireError,
    command_set,
    item,
    number,
    padded,
    parse_command_set,
    pdvs_of,
)

PATIENT_ROOT, STUDY_ROOT, PATIENT_STUDY_ONLY = (f"1.2.840.10008.5.1.4.1.2.{root}" for root in (1, 2, 3))
FIND, MOVE, GET = ".1", ".2", ".3"
C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, C_STORE_RQ, C_CANCEL_RQ = 0x0020, 0x0010, 0x0021, 0x0001, 0x0FFF
PENDING = (0xFF00, 0xFF01)
COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO, DATA_SET_TYPE, STATUS = (
    0x00000100,
    0x00000110,
    0x00000120,
    0x00000800,
    0x00000900,
)
ITEM, ITEM_END, SEQUENCE_END, UNDEFINED = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF

Value = bytes | list["Identifier"]
Identifier = dict[int, Value]


class Outcome(NamedTuple):
    """How an operation ended: its last response, the identifiers before it, and objects that came by C-STORE."""

    status: int
    answers: list[Identifier]
    command: dict[int, bytes]
    stored: dict[str, bytes]
    failed: Identifier

    def count(self, tag: int) -> int:
        """A number of the last response, such as 0000,1021 (completed sub-operations); -1 where it is missing."""
        return int.from_bytes(self.command[tag][:2], "little") if tag in self.command else -1


def pack(identifier: Identifier) -> bytes:
    """An identifier in implicit VR little endian, its elements in order (PS3.5 7.1.3, 7.5)."""
    parts = []
    for tag in sorted(identifier):
        value = identifier[tag]
        if isinstance(value, list):
            items = [pack(item) for item in value]
            raw = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
        else:
            raw = value + b" " * (len(value) % 2)
        parts.append(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(raw)) + raw)
    return b"".join(parts)


def unpack(data: bytes) -> Identifier:
    """An identifier from implicit VR little endian; sequences are told by undefined length or items within."""
    found, end = _elements(data, 0, len(data))
    if end != len(data):
        raise WireError("bytes after the identifier's end")
    return found


def _elements(data: bytes, position: int, end: int) -> tuple[Identifier, int]:
    found: Identifier = {}
    while position < end:
        group, element, length = struct.unpack_from("<HHI", data, position)
        tag, position = group << 16 | element, position + 8
        if tag == ITEM_END:
            return found, position
        if length == UNDEFINED:
            found[tag], position = _items(data, position, end)
        else:
            if position + length > end:
                raise WireError(f"element {tag:08X} runs past its data set")
            raw = data[position : position + length]
            is_sequence = raw[:4] == b"\xfe\xff\x00\xe0"
            found[tag] = _items(data, position, position + length)[0] if is_sequence else raw
            position += length
    return found, position


def _items(data: bytes, position: int, end: int) -> tuple[list[Identifier], int]:
    found: list[Identifier] = []
    while position < end:
        group, element, length = struct.unpack_from("<HHI", data, position)
        tag, position = group << 16 | element, position + 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM:
            raise WireError(f"{tag:08X} where an item should be")
        item, position = _elements(data, position, end if length == UNDEFINED else position + length)
        found.append(item)
    return found, position


def uid_field(uid: str) -> bytes:
    """A UID behind its length."""
    return struct.pack(">H", len(uid)) + uid.encode()


class Querier(Requestor):
    """An association for queries and retrieves on one information model. `extended` offers negotiation by SOP class."""

    def __init__(
        self, port: int, root: str = STUDY_ROOT, storage: list[str] | None = None, *,
        calling: str = "WIRE", called: str = "ANY-SCP",
        transfer: tuple[str, ...] = (),
        extended: Mapping[str, bytes] | None = None, timeout: float = 20.0,
    ) -> None:  # fmt: skip
        self.root = root
        self._incoming = self._messages()
        contexts = [(root + kind, [IMPLICIT_VR_LITTLE_ENDIAN]) for kind in (FIND, MOVE, GET)]
        syntaxes = list(transfer) or ["1.2.840.10008.1.2.1", IMPLICIT_VR_LITTLE_ENDIAN]
        contexts += [(sop_class, syntaxes) for sop_class in storage or []]
        items = [item(0x54, uid_field(sop_class) + b"\0\1") for sop_class in storage or []]  # PS3.7 D.3.3.4
        items += [item(0x56, uid_field(sop_class) + offer) for sop_class, offer in (extended or {}).items()]  # D.3.3.5
        super().__init__(
            port, contexts, calling=calling, called=called, timeout=timeout, user_information=b"".join(items)
        )

    def find(
        self, identifier: Identifier, *, cancel_after: int = 0, on_cancel: Callable[[], None] | None = None
    ) -> Outcome:
        """One C-FIND and all its answers; C-CANCEL after so many of them (PS3.7 9.1.2)."""
        return self._operation(FIND, C_FIND_RQ, identifier, [], cancel_after, on_cancel=on_cancel)

    def move(self, identifier: Identifier, destination: str) -> Outcome:
        """One C-MOVE (PS3.7 9.1.4)."""
        title = destination.encode() + b" " * (len(destination) % 2)
        return self._operation(MOVE, C_MOVE_RQ, identifier, [(0x00000600, title)])

    def get(self, identifier: Identifier, on_object: Callable[[int], None] | None = None) -> Outcome:
        """One C-GET, taking every object that comes (PS3.7 9.1.3); `on_object` is told how many, before the answer."""
        return self._operation(GET, C_GET_RQ, identifier, [], on_object=on_object)

    def _operation(
        self,
        kind: str,
        field: int,
        identifier: Identifier,
        more: list[tuple[int, bytes]],
        cancel_after: int = 0,
        on_object: Callable[[int], None] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> Outcome:
        context_id = self.context_of(self.root + kind)
        self._request(context_id, field, padded(self.root + kind), more, pack(identifier))
        answers: list[Identifier] = []
        stored: dict[str, bytes] = {}
        while True:
            message = self.message()
            if message.number(COMMAND_FIELD) == C_STORE_RQ:
                stored[message.uid(0x00001000)] = message.data_set
                if on_object is not None:
                    on_object(len(stored))
                self._answer_store(message)
                continue
            status = message.number(STATUS)
            if status not in PENDING:
                failed = unpack(message.data_set) if message.data_set else {}
                return Outcome(status, answers, message.command, stored, failed)
            if message.data_set:
                answers.append(unpack(message.data_set))
                if len(answers) == cancel_after:
                    if on_cancel is not None:
                        on_cancel()
                    self._cancel(context_id)

    def _request(
        self, context_id: int, field: int, sop_class: bytes, more: list[tuple[int, bytes]], identifier: bytes
    ) -> None:
        self._message_id = self._message_id % 65535 + 1
        elements = [
            (0x00000002, sop_class),
            (COMMAND_FIELD, number(field)),
            (MESSAGE_ID, number(self._message_id)),
            *more,
            (0x00000700, number(0)),
            (DATA_SET_TYPE, number(WITH_DATA_SET)),
        ]
        self._send(context_id, command_set(elements), command=True)
        self._send(context_id, identifier, command=False)

    def _cancel(self, context_id: int) -> None:
        elements = [
            (COMMAND_FIELD, number(C_CANCEL_RQ)),
            (RESPONDED_TO, number(self._message_id)),
            (DATA_SET_TYPE, number(NO_DATA_SET)),
        ]
        self._send(context_id, command_set(elements), command=True)

    def _answer_store(self, request: Message) -> None:
        elements = [
            (0x00000002, request.command[0x00000002]),
            (COMMAND_FIELD, number(0x8001)),
            (RESPONDED_TO, request.command[MESSAGE_ID]),
            (DATA_SET_TYPE, number(NO_DATA_SET)),
            (STATUS, number(0)),
            (0x00001000, request.command[0x00001000]),
        ]
        self._send(request.context_id, command_set(elements), command=True)

    def context_of(self, abstract_syntax: str) -> int:
        """The context accepted for an abstract syntax. Raises: WireError."""
        accepted = self.accepted.get(abstract_syntax)
        if not accepted:
            raise WireError(f"{abstract_syntax} was not accepted")
        return next(iter(accepted.values()))

    def message(self) -> Message:
        """The next message, with its data set."""
        return next(self._incoming)

    def _messages(self) -> Iterator[Message]:
        command: dict[int, bytes] | None = None
        parts: list[bytes] = []
        while True:
            pdu_type, body = self._pdu()
            if pdu_type != 4:
                raise WireError(f"expected P-DATA-TF, got PDU type {pdu_type}, {body.hex()}")
            for context_id, control, value in pdvs_of(body):
                parts.append(value)
                if control == 3:
                    command, parts = parse_command_set(b"".join(parts)), []
                if command is not None and (control == 2 or command[DATA_SET_TYPE][:2] == number(NO_DATA_SET)):
                    yield Message(context_id, command, b"".join(parts))
                    command, parts = None, []

"""One class per DIMSE message, and the command set codec (PS3.7 6.3, 9.3, 10.3, Annex E).

The command set is always Implicit VR Little Endian (PS3.7 6.3.1). A message class names its fields, in the
standard's words; `_FIELDS` says once how each is encoded. Fields that are None are left out.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from dcmkit.errors import ProtocolError

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda cls: cls


COMMAND_SET_CAP = 256 * 1024
"""Longest command set taken from a peer, in bytes."""

NO_DATA_SET = 0x0101
"""Command Data Set Type: no data set follows (PS3.7 E.1)."""
DATA_SET_PRESENT = 0x0001

PRIORITY_MEDIUM, PRIORITY_HIGH, PRIORITY_LOW = 0, 1, 2

_UI, _AE, _US, _AT, _LO = "UI", "AE", "US", "AT", "LO"

# PS3.7 E.1, Table E.1-1: element number in group 0000, and value representation.
_FIELDS: dict[str, tuple[int, str]] = {
    "affected_sop_class_uid": (0x0002, _UI),
    "requested_sop_class_uid": (0x0003, _UI),
    "message_id": (0x0110, _US),
    "message_id_being_responded_to": (0x0120, _US),
    "move_destination": (0x0600, _AE),
    "priority": (0x0700, _US),
    "command_data_set_type": (0x0800, _US),
    "status": (0x0900, _US),
    "offending_element": (0x0901, _AT),
    "error_comment": (0x0902, _LO),
    "error_id": (0x0903, _US),
    "affected_sop_instance_uid": (0x1000, _UI),
    "requested_sop_instance_uid": (0x1001, _UI),
    "event_type_id": (0x1002, _US),
    "attribute_identifier_list": (0x1005, _AT),
    "action_type_id": (0x1008, _US),
    "number_of_remaining_suboperations": (0x1020, _US),
    "number_of_completed_suboperations": (0x1021, _US),
    "number_of_failed_suboperations": (0x1022, _US),
    "number_of_warning_suboperations": (0x1023, _US),
    "move_originator_ae_title": (0x1030, _AE),
    "move_originator_message_id": (0x1031, _US),
}
_BY_ELEMENT = {element: (name, vr) for name, (element, vr) in _FIELDS.items()}
_COMMAND_FIELD = 0x0100

_ELEMENT = struct.Struct("<HHI")
_US_ELEMENT = struct.Struct("<HHIH")
_GROUP_LENGTH = struct.Struct("<HHII")

_MessageT = TypeVar("_MessageT", bound="Message")


@dataclass_transform(kw_only_default=True, eq_default=True)
class Message:
    """A DIMSE message's command set. Subclasses declare fields as annotations, with None where optional.

    Attributes:
        command_field: (0000,0100) of the class (PS3.7 E.1).
        command_data_set_type: (0000,0800); whether a data set follows.
    """

    command_field: ClassVar[int] = 0
    by_command_field: ClassVar[dict[int, type[Message]]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    """Fields without which a received command set is refused."""
    _names: ClassVar[tuple[str, ...]] = ("command_data_set_type",)

    command_data_set_type: int = NO_DATA_SET

    def __init_subclass__(cls) -> None:
        own = tuple(name for name in cls.__annotations__ if name in _FIELDS)
        inherited = [name for name in cls._names if name not in own]
        cls._names = tuple(sorted((*inherited, *own), key=lambda name: _FIELDS[name][0]))
        if cls.command_field:
            Message.by_command_field[cls.command_field] = cls

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name in self._names if (value := getattr(self, name)) is not None)
        return f"{type(self).__name__}({fields})"

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows the command set (PS3.7 E.1, (0000,0800) is not 0101H)."""
        return self.command_data_set_type != NO_DATA_SET

    def encode(self) -> bytes:
        """The command set, with its group length."""
        parts = [_US_ELEMENT.pack(0, _COMMAND_FIELD, 2, self.command_field)]
        for name in self._names:
            value = getattr(self, name)
            if value is None:
                continue
            element, vr = _FIELDS[name]
            if vr is _US:
                parts.append(_US_ELEMENT.pack(0, element, 2, value))
                continue
            encoded = _encode_value(vr, value)
            parts.append(_ELEMENT.pack(0, element, len(encoded)) + encoded)
        parts.sort(key=_element_number)
        body = b"".join(parts)
        return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _element_number(encoded: bytes) -> int:
    return encoded[2] | encoded[3] << 8


def _encode_value(vr: str, value: Any) -> bytes:
    if vr is _AT:
        return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
    data: bytes = value.encode("utf-8" if vr is _LO else "latin-1", "replace")
    if vr is _LO:
        data = data[:64]  # PS3.5 6.2: LO holds 64 characters
    if len(data) % 2:
        data += b"\0" if vr is _UI else b" "
    return data


def _decode_value(name: str, vr: str, data: bytes) -> Any:
    if vr is _US:
        if len(data) != 2:
            raise ProtocolError(f"{name} of {len(data)} bytes in a command set, 2 are needed")
        return data[0] | data[1] << 8
    if vr is _AT:
        if len(data) % 4:
            raise ProtocolError(f"{name} of {len(data)} bytes in a command set, not a multiple of 4")
        halves = struct.unpack(f"<{len(data) // 2}H", data)
        return tuple(halves[i] << 16 | halves[i + 1] for i in range(0, len(halves), 2))
    if vr is _UI:
        return data.rstrip(b"\0 ").decode("latin-1")
    if vr is _LO:
        return data.decode("utf-8", "replace").strip("\0 ")
    return data.decode("latin-1").strip("\0 ")


def decode(data: bytes | bytearray | memoryview) -> Message:
    """A complete command set as its message.

    A missing or wrong group length, elements out of order and unknown elements are tolerated, as real devices send
    them. A command field PS3.7 does not know gives a plain `UnknownMessage`.

    Raises:
        ProtocolError: truncated, not group 0000, a field of the wrong length, or without command field.
    """
    data = bytes(data)
    values: dict[str, Any] = {}
    command_field = -1
    position, end = 0, len(data)
    unpack = _ELEMENT.unpack_from
    while position < end:
        if end - position < 8:
            raise ProtocolError("command set ends inside an element")
        group, element, length = unpack(data, position)
        position += 8
        stop = position + length
        if group or stop > end:
            raise ProtocolError(f"command set is damaged at element ({group:04X},{element:04X})")
        known = _BY_ELEMENT.get(element)
        if known is not None:
            values[known[0]] = _decode_value(known[0], known[1], data[position:stop])
        elif element == _COMMAND_FIELD:
            command_field = _decode_value("command_field", _US, data[position:stop])
        position = stop
    if command_field < 0:
        raise ProtocolError("command set without command field")
    cls = Message.by_command_field.get(command_field, UnknownMessage)
    message = cls(**values)
    missing = [name for name in cls.required if name not in values]
    if missing:
        raise ProtocolError(f"{cls.__name__} without {missing[0]}")
    if cls is UnknownMessage:
        message.__dict__["command_field"] = command_field
    return message


class Request(Message):
    """What every request has (PS3.7 9.3, 10.3)."""

    required: ClassVar[tuple[str, ...]] = ("message_id",)
    message_id: int


class Response(Message):
    """What every response has (PS3.7 9.3, 10.3; C.4.2 for what comes with a failure)."""

    required: ClassVar[tuple[str, ...]] = ("message_id_being_responded_to", "status")
    message_id_being_responded_to: int
    status: int
    offending_element: tuple[int, ...] | None = None
    error_comment: str | None = None
    error_id: int | None = None


class UnknownMessage(Message):
    """A message whose command field PS3.7 does not know; answered 0211H, unrecognized operation (PS3.7 C.5.23)."""

    message_id: int | None = None
    affected_sop_class_uid: str | None = None
    message_id_being_responded_to: int | None = None
    status: int | None = None


class C_STORE_RQ(Request):
    """PS3.7 9.3.1.1."""

    command_field = 0x0001
    affected_sop_class_uid: str = ""  # required by the standard; without it there is still an answer: a failure status
    affected_sop_instance_uid: str = ""
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None


class C_STORE_RSP(Response):
    """PS3.7 9.3.1.2."""

    command_field = 0x8001
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None


class C_FIND_RQ(Request):
    """PS3.7 9.3.2.1."""

    command_field = 0x0020
    required: ClassVar[tuple[str, ...]] = ("message_id", "affected_sop_class_uid")
    affected_sop_class_uid: str
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT


class C_FIND_RSP(Response):
    """PS3.7 9.3.2.2."""

    command_field = 0x8020
    affected_sop_class_uid: str | None = None
    command_data_set_type: int = NO_DATA_SET


class C_GET_RQ(Request):
    """PS3.7 9.3.3.1."""

    command_field = 0x0010
    required: ClassVar[tuple[str, ...]] = ("message_id", "affected_sop_class_uid")
    affected_sop_class_uid: str
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT


class C_GET_RSP(Response):
    """PS3.7 9.3.3.2."""

    command_field = 0x8010
    affected_sop_class_uid: str | None = None
    command_data_set_type: int = NO_DATA_SET
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


class C_MOVE_RQ(Request):
    """PS3.7 9.3.4.1."""

    command_field = 0x0021
    required: ClassVar[tuple[str, ...]] = ("message_id", "affected_sop_class_uid", "move_destination")
    affected_sop_class_uid: str
    move_destination: str
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT


class C_MOVE_RSP(Response):
    """PS3.7 9.3.4.2."""

    command_field = 0x8021
    affected_sop_class_uid: str | None = None
    command_data_set_type: int = NO_DATA_SET
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


class C_ECHO_RQ(Request):
    """PS3.7 9.3.5.1."""

    command_field = 0x0030
    affected_sop_class_uid: str | None = None


class C_ECHO_RSP(Response):
    """PS3.7 9.3.5.2."""

    command_field = 0x8030
    affected_sop_class_uid: str | None = None


class C_CANCEL_RQ(Message):
    """PS3.7 9.3.2.3; cancels a C-FIND, C-GET or C-MOVE."""

    command_field = 0x0FFF
    required: ClassVar[tuple[str, ...]] = ("message_id_being_responded_to",)
    message_id_being_responded_to: int


class N_EVENT_REPORT_RQ(Request):
    """PS3.7 10.3.1.1."""

    command_field = 0x0100
    required: ClassVar[tuple[str, ...]] = (
        "message_id",
        "affected_sop_class_uid",
        "affected_sop_instance_uid",
        "event_type_id",
    )
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    event_type_id: int


class N_EVENT_REPORT_RSP(Response):
    """PS3.7 10.3.1.2."""

    command_field = 0x8100
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    event_type_id: int | None = None


class N_GET_RQ(Request):
    """PS3.7 10.3.2.1."""

    command_field = 0x0110
    required: ClassVar[tuple[str, ...]] = ("message_id", "requested_sop_class_uid", "requested_sop_instance_uid")
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    attribute_identifier_list: tuple[int, ...] | None = None


class N_GET_RSP(Response):
    """PS3.7 10.3.2.2."""

    command_field = 0x8110
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None


class N_SET_RQ(Request):
    """PS3.7 10.3.3.1."""

    command_field = 0x0120
    required: ClassVar[tuple[str, ...]] = ("message_id", "requested_sop_class_uid", "requested_sop_instance_uid")
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    command_data_set_type: int = DATA_SET_PRESENT


class N_SET_RSP(Response):
    """PS3.7 10.3.3.2."""

    command_field = 0x8120
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    attribute_identifier_list: tuple[int, ...] | None = None


class N_ACTION_RQ(Request):
    """PS3.7 10.3.4.1."""

    command_field = 0x0130
    required: ClassVar[tuple[str, ...]] = (
        "message_id",
        "requested_sop_class_uid",
        "requested_sop_instance_uid",
        "action_type_id",
    )
    requested_sop_class_uid: str
    requested_sop_instance_uid: str
    action_type_id: int


class N_ACTION_RSP(Response):
    """PS3.7 10.3.4.2."""

    command_field = 0x8130
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    action_type_id: int | None = None


class N_CREATE_RQ(Request):
    """PS3.7 10.3.5.1; the instance UID is optional, the SCP then assigns one."""

    command_field = 0x0140
    required: ClassVar[tuple[str, ...]] = ("message_id", "affected_sop_class_uid")
    affected_sop_class_uid: str
    affected_sop_instance_uid: str | None = None


class N_CREATE_RSP(Response):
    """PS3.7 10.3.5.2."""

    command_field = 0x8140
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None


class N_DELETE_RQ(Request):
    """PS3.7 10.3.6.1."""

    command_field = 0x0150
    required: ClassVar[tuple[str, ...]] = ("message_id", "requested_sop_class_uid", "requested_sop_instance_uid")
    requested_sop_class_uid: str
    requested_sop_instance_uid: str


class N_DELETE_RSP(Response):
    """PS3.7 10.3.6.2."""

    command_field = 0x8150
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None

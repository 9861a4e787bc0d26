"""The command set codec (PS3.7 6.3, Annex E)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import ProtocolError
from dcmkit.protocol import message as dimse

UIDS = st.from_regex(r"[0-9]{1,3}(\.[1-9][0-9]{0,8}){1,5}", fullmatch=True)
NUMBERS = st.integers(0, 0xFFFF)
TEXTS = st.text(st.characters(codec="ascii", exclude_categories=("C", "Z")), min_size=1, max_size=16)
BY_FIELD = {
    "UI": UIDS,
    "AE": TEXTS,
    "US": NUMBERS,
    "LO": TEXTS,
    "AT": st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple),
}
CLASSES = sorted(dimse.Message.by_command_field.values(), key=lambda cls: cls.__name__)


@st.composite
def messages(draw: st.DrawFn) -> dimse.Message:
    cls = draw(st.sampled_from(CLASSES))
    values = {}
    for name in cls._names:
        strategy = BY_FIELD[dimse._FIELDS[name][1]]
        if name not in cls.required and getattr(cls, name, None) is None:
            strategy = st.none() | strategy
        values[name] = draw(strategy)
    return cls(**values)


def test_every_message_of_ps37_is_there() -> None:
    assert len(CLASSES) == 23
    assert all(cls.command_field for cls in CLASSES)


@given(messages())
def test_decode_after_encode_is_identity(message: dimse.Message) -> None:
    decoded = dimse.decode(message.encode())
    assert type(decoded) is type(message)
    assert decoded == message


@given(st.binary(max_size=200))
def test_garbage_gives_the_documented_error(data: bytes) -> None:
    try:
        dimse.decode(data)
    except ProtocolError:
        pass


@given(messages(), st.data())
def test_damage_gives_the_documented_error(message: dimse.Message, data: st.DataObject) -> None:
    encoded = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    try:
        dimse.decode(encoded[:cut])
    except ProtocolError:
        pass


def test_pynetdicom_reads_what_we_write() -> None:
    pytest.importorskip("pynetdicom")
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import read_dataset

    rq = dimse.C_STORE_RQ(
        message_id=7, affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.2", affected_sop_instance_uid="1.2"
    )
    command = read_dataset(DicomBytesIO(rq.encode()), True, True)
    assert command.CommandGroupLength == len(rq.encode()) - 12
    assert (command.CommandField, command.MessageID, command.Priority) == (1, 7, 0)
    assert command.AffectedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert command.CommandDataSetType != 0x0101
    assert [e.tag for e in command] == sorted(e.tag for e in command)


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


ECHO = element(0x0100, b"\x30\0") + element(0x0110, b"\1\0") + element(0x0800, b"\1\1")


def test_group_length_may_be_missing_or_wrong() -> None:
    assert dimse.decode(ECHO) == dimse.decode(element(0, b"\xff\xff\xff\xff") + ECHO)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ECHO[:-1],
        ECHO[:5],
        element(0x0110, b"\1\0"),  # no command field
        element(0x0100, b"\x30\0"),  # no message ID
        element(0x0100, b"\x30\0\0\0") + ECHO,  # command field of four bytes
        struct.pack("<HHI", 0, 0x0110, 0xFFFFFFFF) + ECHO,  # claims 4 GiB
        struct.pack("<HH2sH", 0, 0x0002, b"UI", 4) + b"1.2\0" + ECHO,  # explicit VR
        struct.pack("<HHI", 8, 0x0016, 4) + b"1.2\0" + ECHO,  # not group 0000
    ],
)
def test_damaged_command_sets_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        dimse.decode(data)


def test_unknown_command_field_can_be_answered() -> None:
    message = dimse.decode(element(0x0100, b"\x77\x77") + element(0x0110, b"\5\0") + element(0x0800, b"\1\1"))
    assert isinstance(message, dimse.UnknownMessage)
    assert message.message_id == 5
    assert message.command_field == 0x7777


def test_padding_and_comment_length() -> None:
    response = dimse.C_STORE_RSP(message_id_being_responded_to=1, status=0xA700, error_comment="x" * 99)
    assert isinstance(decoded := dimse.decode(response.encode()), dimse.C_STORE_RSP)
    assert decoded.error_comment == "x" * 64
    assert len(response.encode()) % 2 == 0
    assert "status=42752" in repr(response)

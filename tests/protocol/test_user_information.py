"""The User Information item (PS3.7 D.3.3)."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcmkit.errors import ProtocolError, UsageError
from dcmkit.protocol.items import encode_item, encode_sized
from dcmkit.protocol.user_information import (
    AsynchronousOperations,
    Role,
    SOPClassCommonExtended,
    SOPClassExtended,
    UserIdentity,
    UserInformation,
    decode_user_information,
)

UIDS = st.lists(st.integers(0, 99999), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
# What padding would change cannot come back; everything else must, odd lengths and non-ASCII included.
TEXTS = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20).filter(lambda t: t == t.strip("\0 "))
DEFINED = range(0x51, 0x5A)

user_informations = st.builds(
    UserInformation,
    maximum_length=st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=st.just("") | UIDS,
    implementation_version_name=TEXTS,
    asynchronous_operations=st.none()
    | st.builds(AsynchronousOperations, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    roles=st.lists(st.builds(Role, UIDS, st.booleans(), st.booleans()), max_size=4).map(tuple),
    extended=st.lists(st.builds(SOPClassExtended, UIDS, st.binary(max_size=9)), max_size=3).map(tuple),
    common_extended=st.lists(
        st.builds(SOPClassCommonExtended, UIDS, UIDS, st.lists(UIDS, max_size=3).map(tuple)), max_size=3
    ).map(tuple),
    user_identity=st.none()
    | st.builds(UserIdentity, st.integers(0, 255), st.booleans(), st.binary(max_size=40), st.binary(max_size=20)),
    user_identity_response=st.none() | st.binary(max_size=40),
    unknown=st.lists(
        st.tuples(st.integers(0, 255).filter(lambda t: t not in DEFINED), st.binary(max_size=9)), max_size=3
    ).map(tuple),
)

FULL = UserInformation(
    maximum_length=16384,
    implementation_class_uid="1.2.3",
    implementation_version_name="TEST_1",
    asynchronous_operations=AsynchronousOperations(2, 0),
    roles=(Role("1.2.840.10008.5.1.4.1.1.2", False, True),),
    extended=(SOPClassExtended("1.2.840.10008.5.1.4.1.2.2.1", b"\1\1\1"),),
    common_extended=(SOPClassCommonExtended("1.2.3.4", "1.2.840.10008.4.2", ("1.2.840.10008.5.1.4.1.1.2",)),),
    user_identity=UserIdentity(2, True, b"me", b"secret"),
)


@given(user_informations)
@example(FULL)
@example(UserInformation())
def test_decode_after_encode_is_identity(information: UserInformation) -> None:
    encoded = information.encode()
    assert encoded[0] == 0x50
    assert decode_user_information(encoded[4:]) == information


@given(user_informations, st.data())
def test_any_mutation_is_read_or_a_protocol_error(information: UserInformation, data: st.DataObject) -> None:
    encoded = bytearray(information.encode()[4:])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    check_garbage(bytes(encoded[:cut]))


@given(st.binary(max_size=200))
def test_any_garbage_is_read_or_a_protocol_error(garbage: bytes) -> None:
    check_garbage(garbage)


def check_garbage(garbage: bytes) -> None:
    try:
        decoded = decode_user_information(garbage)
    except ProtocolError as error:
        assert (error.source, error.reason) == (2, 6)  # noqa: PT017
    else:
        assert decode_user_information(decoded.encode()[4:]) == decoded


@pytest.mark.parametrize(
    "sub_item",
    [
        encode_item(0x51, bytes(3)),
        encode_item(0x51, bytes(5)),
        encode_item(0x53, bytes(3)),
        encode_item(0x53, bytes(8)),
        encode_item(0x54, b""),
        encode_item(0x54, encode_sized(b"1.2"), b"\1"),
        encode_item(0x54, encode_sized(b"1.2"), b"\1\1\0"),
        encode_item(0x54, b"\0\x09", b"1.2\1\1"),
        encode_item(0x56, b"\0\4", b"1.2"),
        encode_item(0x57, encode_sized(b"1.2")),
        encode_item(0x57, encode_sized(b"1.2"), encode_sized(b"1.3")),
        encode_item(0x57, encode_sized(b"1.2"), encode_sized(b"1.3"), encode_sized(b"\0\x05" + b"1.4")),
        encode_item(0x58, b"\1"),
        encode_item(0x58, b"\1\0", encode_sized(b"me")),
        encode_item(0x58, b"\1\0", encode_sized(b"me"), encode_sized(b""), b"!"),
        encode_item(0x58, b"\2\0", b"\xff\xff", b"me", encode_sized(b"secret")),
        encode_item(0x59, b"\0"),
        encode_item(0x59, encode_sized(b"ok"), b"!"),
        encode_item(0x59, b"\0\4", b"ok"),
        encode_item(0x51, bytes(4)) * 2,
        encode_item(0x58, b"\1\0", encode_sized(b"me"), encode_sized(b"")) * 2,
        b"\x51\0\0",
    ],
)
def test_malformed_sub_items(sub_item: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_user_information(encode_item(0x52, b"1.2.3") + sub_item)
    assert (caught.value.source, caught.value.reason) == (2, 6)


def test_what_devices_do() -> None:
    data = (
        encode_item(0x7F, b"vendor")
        + encode_item(0x55, b"PADDED NAME \0\0")
        + encode_item(0x52, b"1.2.3\0")
        + encode_item(0x54, encode_sized(b"1.2.33\0 "), b"\1\2")
    )
    assert decode_user_information(data) == UserInformation(
        implementation_class_uid="1.2.3",
        implementation_version_name="PADDED NAME",
        roles=(Role("1.2.33", True, True),),
        unknown=((0x7F, b"vendor"),),
    )


def test_a_later_version_of_common_extended_negotiation() -> None:
    later = encode_item(0x57, encode_sized(b"1.2"), encode_sized(b"1.3"), encode_sized(b""), b"new fields")
    assert decode_user_information(later).common_extended == (SOPClassCommonExtended("1.2", "1.3", ()),)


@pytest.mark.parametrize(
    "information",
    [
        UserInformation(maximum_length=1 << 32),
        UserInformation(maximum_length=-1),
        UserInformation(asynchronous_operations=AsynchronousOperations(1, 65536)),
        UserInformation(user_identity=UserIdentity(256)),
        UserInformation(user_identity=UserIdentity(5, False, bytes(65536))),
        UserInformation(user_identity=UserIdentity(5, False, bytes(65535))),
        UserInformation(implementation_version_name="東京"),
        UserInformation(unknown=((0x7F, bytes(65535)),)),
    ],
)
def test_values_that_do_not_fit(information: UserInformation) -> None:
    with pytest.raises(UsageError):
        information.encode()


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(FULL)


def test_60_kb_of_role_items_are_linear_work() -> None:
    role = encode_item(0x54, encode_sized(b"1.2"), b"\1\1")
    began = time.process_time()
    assert len(decode_user_information(role * (60_000 // len(role))).roles) == 60_000 // len(role)
    assert len(decode_user_information(encode_item(0x7F) * 250_000).unknown) == 250_000
    assert time.process_time() - began < 5  # quadratic work would take minutes


def test_pynetdicom_reads_the_same() -> None:
    pdu_items = pytest.importorskip("pynetdicom.pdu_items")
    item = pdu_items.UserInformationItem()
    item.decode(FULL.encode())
    assert item.encode() == FULL.encode()
    assert item.maximum_length == 16384
    assert item.implementation_class_uid == "1.2.3"
    assert (item.async_ops_window.max_operations_invoked, item.async_ops_window.max_operations_performed) == (2, 0)
    (role,) = item.role_selection.values()
    assert (role.uid, role.scu, role.scp) == ("1.2.840.10008.5.1.4.1.1.2", 0, 1)
    (extended,) = item.ext_neg
    assert extended.app_info == b"\1\1\1"
    (common,) = item.common_ext_neg
    assert common.related_general_sop_class_identification == ["1.2.840.10008.5.1.4.1.1.2"]
    assert (item.user_identity.id_type, item.user_identity.primary, item.user_identity.secondary) == (
        2,
        b"me",
        b"secret",
    )

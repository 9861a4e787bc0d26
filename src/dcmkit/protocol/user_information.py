"""The User Information item of A-ASSOCIATE-RQ and -AC (PS3.7 D.3.3, PS3.8 9.3.2.3 and Annex D).

Decoding is strict on structure (a sub-item whose lengths do not add up, or a single one that is repeated, is a
`ProtocolError`) and tolerant of everything else: unknown sub-items are kept in `unknown` and mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.errors import ProtocolError, UsageError
from dcmkit.protocol.items import (
    Record,
    decode_sized,
    decode_text,
    encode_item,
    encode_sized,
    encode_text,
    iterate_items,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

USER_INFORMATION_ITEM = 0x50
MAXIMUM_LENGTH = 0x51
IMPLEMENTATION_CLASS_UID = 0x52
ASYNCHRONOUS_OPERATIONS_WINDOW = 0x53
ROLE_SELECTION = 0x54
IMPLEMENTATION_VERSION_NAME = 0x55
SOP_CLASS_EXTENDED_NEGOTIATION = 0x56
SOP_CLASS_COMMON_EXTENDED_NEGOTIATION = 0x57
USER_IDENTITY_RQ = 0x58
USER_IDENTITY_AC = 0x59

USERNAME, USERNAME_AND_PASSWORD, KERBEROS, SAML, JWT = 1, 2, 3, 4, 5
"""User identity types (PS3.7 D.3.3.7.1)."""


class AsynchronousOperations(Record):
    """Asynchronous Operations Window (PS3.7 D.3.3.3): 0 means no limit, 1 one operation at a time."""

    __slots__ = ("invoked", "performed")

    def __init__(self, invoked: int, performed: int) -> None:
        self.invoked, self.performed = invoked, performed


class Role(Record):
    """SCP/SCU Role Selection (PS3.7 D.3.3.4), always from the requestor's point of view."""

    __slots__ = ("scp", "scu", "sop_class_uid")

    def __init__(self, sop_class_uid: str, scu: bool, scp: bool) -> None:
        self.sop_class_uid, self.scu, self.scp = sop_class_uid, scu, scp


class SOPClassExtended(Record):
    """SOP Class Extended Negotiation (PS3.7 D.3.3.5); what `information` holds is the service class's affair."""

    __slots__ = ("information", "sop_class_uid")

    def __init__(self, sop_class_uid: str, information: bytes) -> None:
        self.sop_class_uid, self.information = sop_class_uid, information


class SOPClassCommonExtended(Record):
    """SOP Class Common Extended Negotiation (PS3.7 D.3.3.6); requests only."""

    __slots__ = ("related", "service_class_uid", "sop_class_uid")

    def __init__(self, sop_class_uid: str, service_class_uid: str, related: tuple[str, ...] = ()) -> None:
        self.sop_class_uid, self.service_class_uid, self.related = sop_class_uid, service_class_uid, related


class UserIdentity(Record):
    """User Identity of a request (PS3.7 D.3.3.7): `primary` is the user name, ticket, assertion or token."""

    __slots__ = ("positive_response_requested", "primary", "secondary", "type")

    def __init__(
        self,
        type: int,  # noqa: A002 - the standard's word
        positive_response_requested: bool = False,
        primary: bytes = b"",
        secondary: bytes = b"",
    ) -> None:
        self.type = type
        self.positive_response_requested = positive_response_requested
        self.primary = primary
        self.secondary = secondary

    def __repr__(self) -> str:
        """Without the secrets: this may reach a log."""
        return f"UserIdentity(type={self.type}, positive_response_requested={self.positive_response_requested})"


class UserInformation(Record):
    """Everything of PS3.7 D.3.3. An empty text, None or an empty tuple is a sub-item that is not there.

    Attributes:
        maximum_length: the longest P-DATA-TF the sender of this item takes, counted after the PDU header; 0 is no
            limit, and what an item without the (mandatory) sub-item is read as.
        user_identity: in a request only.
        user_identity_response: in an answer only; b"" is a positive response without content.
        unknown: type and value of each sub-item PS3.7 does not define.
    """

    __slots__ = (
        "asynchronous_operations",
        "common_extended",
        "extended",
        "implementation_class_uid",
        "implementation_version_name",
        "maximum_length",
        "roles",
        "unknown",
        "user_identity",
        "user_identity_response",
    )  # fmt: skip

    def __init__(
        self,
        maximum_length: int = 0,
        implementation_class_uid: str = "",
        implementation_version_name: str = "",
        asynchronous_operations: AsynchronousOperations | None = None,
        roles: tuple[Role, ...] = (),
        extended: tuple[SOPClassExtended, ...] = (),
        common_extended: tuple[SOPClassCommonExtended, ...] = (),
        user_identity: UserIdentity | None = None,
        user_identity_response: bytes | None = None,
        unknown: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.maximum_length = maximum_length
        self.implementation_class_uid = implementation_class_uid
        self.implementation_version_name = implementation_version_name
        self.asynchronous_operations = asynchronous_operations
        self.roles = roles
        self.extended = extended
        self.common_extended = common_extended
        self.user_identity = user_identity
        self.user_identity_response = user_identity_response
        self.unknown = unknown

    def encode(self) -> bytes:
        """The whole item, its header included.

        Raises:
            UsageError: a value does not fit its field.
        """
        return encode_item(USER_INFORMATION_ITEM, *_encode_sub_items(self))


def decode_user_information(data: bytes) -> UserInformation:
    """Read the value of a User Information item (what follows its four bytes of header).

    Raises:
        ProtocolError: lengths that lie, fixed parts missing, a single sub-item twice.
    """
    single: dict[str, Any] = {}
    repeated: dict[str, list[Any]] = {}
    for item_type, value in iterate_items(data, 0, "the user information"):
        if item_type in _SINGLE:
            name, decode = _SINGLE[item_type]
            if name in single:
                raise ProtocolError(f"the user information holds sub-item {item_type:02X}H twice")
            single[name] = decode(value)
        elif item_type in _REPEATED:
            name, decode = _REPEATED[item_type]
            repeated.setdefault(name, []).append(decode(value))
        else:
            repeated.setdefault("unknown", []).append((item_type, value))
    fields: dict[str, Any] = {name: tuple(values) for name, values in repeated.items()}
    return UserInformation(**single, **fields)


# --- encoding ----------------------------------------------------------------------------------------------------


def _encode_sub_items(info: UserInformation) -> list[bytes]:
    """In ascending order of item type, which is the order devices are used to."""
    items = [encode_item(MAXIMUM_LENGTH, _number(info.maximum_length, 4, "maximum length"))]
    if info.implementation_class_uid:
        items.append(encode_item(IMPLEMENTATION_CLASS_UID, _uid(info.implementation_class_uid)))
    if info.asynchronous_operations is not None:
        operations = info.asynchronous_operations
        sizes = (operations.invoked, operations.performed)
        window = [_number(size, 2, "asynchronous operations window") for size in sizes]
        items.append(encode_item(ASYNCHRONOUS_OPERATIONS_WINDOW, *window))
    for role in info.roles:
        flags = bytes((role.scu, role.scp))
        items.append(encode_item(ROLE_SELECTION, encode_sized(_uid(role.sop_class_uid)), flags))
    if info.implementation_version_name:
        name = encode_text(info.implementation_version_name, "implementation version name")
        items.append(encode_item(IMPLEMENTATION_VERSION_NAME, name))
    for extended in info.extended:
        uid = encode_sized(_uid(extended.sop_class_uid))
        items.append(encode_item(SOP_CLASS_EXTENDED_NEGOTIATION, uid, extended.information))
    items.extend(_encode_common_extended(common) for common in info.common_extended)
    if info.user_identity is not None:
        items.append(_encode_user_identity(info.user_identity))
    if info.user_identity_response is not None:
        items.append(encode_item(USER_IDENTITY_AC, encode_sized(info.user_identity_response)))
    items.extend(encode_item(item_type, value) for item_type, value in info.unknown)
    return items


def _encode_common_extended(common: SOPClassCommonExtended) -> bytes:
    related = b"".join(encode_sized(_uid(uid)) for uid in common.related)
    return encode_item(
        SOP_CLASS_COMMON_EXTENDED_NEGOTIATION,
        encode_sized(_uid(common.sop_class_uid)),
        encode_sized(_uid(common.service_class_uid)),
        encode_sized(related),
    )


def _encode_user_identity(identity: UserIdentity) -> bytes:
    return encode_item(
        USER_IDENTITY_RQ,
        _number(identity.type, 1, "user identity type"),
        bytes((identity.positive_response_requested,)),
        encode_sized(identity.primary),
        encode_sized(identity.secondary),
    )


def _uid(uid: str) -> bytes:
    return encode_text(uid, "UID")


def _number(value: int, length: int, what: str) -> bytes:
    try:
        return value.to_bytes(length, "big")
    except OverflowError:
        raise UsageError(f"{what} {value} is out of range", hint=f"0 to {256**length - 1}") from None


# --- decoding ----------------------------------------------------------------------------------------------------


def _decode_maximum_length(value: bytes) -> int:
    return int.from_bytes(_fixed(value, 4, "the maximum length sub-item"), "big")


def _decode_asynchronous_operations(value: bytes) -> AsynchronousOperations:
    _fixed(value, 4, "the asynchronous operations window sub-item")
    return AsynchronousOperations(int.from_bytes(value[:2], "big"), int.from_bytes(value[2:], "big"))


def _decode_role(value: bytes) -> Role:
    uid, offset = decode_sized(value, 0, "a role selection sub-item")
    flags = _fixed(value[offset:], 2, "the roles of a role selection sub-item")
    return Role(decode_text(uid), flags[0] != 0, flags[1] != 0)


def _decode_extended(value: bytes) -> SOPClassExtended:
    uid, offset = decode_sized(value, 0, "an extended negotiation sub-item")
    return SOPClassExtended(decode_text(uid), value[offset:])


def _decode_common_extended(value: bytes) -> SOPClassCommonExtended:
    """Bytes after the related classes are allowed: later versions of this sub-item add fields there."""
    what = "a common extended negotiation sub-item"
    sop_class, offset = decode_sized(value, 0, what)
    service_class, offset = decode_sized(value, offset, what)
    list_of_related, offset = decode_sized(value, offset, what)
    related = []
    position = 0
    while position < len(list_of_related):
        uid, position = decode_sized(list_of_related, position, what)
        related.append(decode_text(uid))
    return SOPClassCommonExtended(decode_text(sop_class), decode_text(service_class), tuple(related))


def _decode_user_identity(value: bytes) -> UserIdentity:
    what = "the user identity sub-item"
    primary, offset = decode_sized(value, 2, what)
    secondary, offset = decode_sized(value, offset, what)
    _fixed(value[offset:], 0, "the rest of " + what)
    return UserIdentity(value[0], value[1] != 0, primary, secondary)


def _decode_user_identity_response(value: bytes) -> bytes:
    response, offset = decode_sized(value, 0, "the user identity response")
    _fixed(value[offset:], 0, "the rest of the user identity response")
    return response


def _fixed(value: bytes, length: int, what: str) -> bytes:
    if len(value) != length:
        raise ProtocolError(f"{what} is {len(value)} bytes long, not {length}")
    return value


_SINGLE: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    MAXIMUM_LENGTH: ("maximum_length", _decode_maximum_length),
    IMPLEMENTATION_CLASS_UID: ("implementation_class_uid", decode_text),
    ASYNCHRONOUS_OPERATIONS_WINDOW: ("asynchronous_operations", _decode_asynchronous_operations),
    IMPLEMENTATION_VERSION_NAME: ("implementation_version_name", decode_text),
    USER_IDENTITY_RQ: ("user_identity", _decode_user_identity),
    USER_IDENTITY_AC: ("user_identity_response", _decode_user_identity_response),
}
_REPEATED: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    ROLE_SELECTION: ("roles", _decode_role),
    SOP_CLASS_EXTENDED_NEGOTIATION: ("extended", _decode_extended),
    SOP_CLASS_COMMON_EXTENDED_NEGOTIATION: ("common_extended", _decode_common_extended),
}

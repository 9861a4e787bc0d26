"""The PDUs that open and close an association (PS3.8 9.3.2 to 9.3.4, 9.3.6 to 9.3.8); P-DATA-TF is in `pdata`.

Decoding is strict on structure and tolerant on meaning: what the bytes say is handed on, and the acceptor decides on
protocol version, application context and titles (`rejection`) and on presentation contexts (`negotiation`). So a
context with no or several abstract syntaxes is not an error here; it is read as one that cannot be accepted.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from dcmkit.errors import ProtocolError, UsageError
from dcmkit.protocol.items import Record, decode_text, encode_item, encode_text, iterate_items
from dcmkit.protocol.user_information import USER_INFORMATION_ITEM, UserInformation, decode_user_information
from dcmkit.uids import APPLICATION_CONTEXT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcmkit.protocol.items import Buffer

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = range(1, 8)
PDU_NAMES = {
    A_ASSOCIATE_RQ: "A-ASSOCIATE-RQ", A_ASSOCIATE_AC: "A-ASSOCIATE-AC", A_ASSOCIATE_RJ: "A-ASSOCIATE-RJ",
    P_DATA_TF: "P-DATA-TF", A_RELEASE_RQ: "A-RELEASE-RQ", A_RELEASE_RP: "A-RELEASE-RP", A_ABORT: "A-ABORT",
}  # fmt: skip

_APPLICATION_CONTEXT = 0x10
_PRESENTATION_CONTEXT_RQ = 0x20
_PRESENTATION_CONTEXT_AC = 0x21
_ABSTRACT_SYNTAX = 0x30
_TRANSFER_SYNTAX = 0x40
_ASSOCIATE = struct.Struct(">H2x16s16s32x")
"""Protocol version, called and calling AE title; the rest is reserved (PS3.8 Tables 9-11 and 9-17)."""

_UNRECOGNIZED_PDU = 1


class PresentationContextRQ(NamedTuple):
    """A presentation context as proposed (PS3.8 9.3.2.2).

    Attributes:
        abstract_syntax: "" where the peer sent none, or more than one.
    """

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class PresentationContextAC(NamedTuple):
    """The answer to a proposed presentation context (PS3.8 9.3.3.2).

    Attributes:
        result: 0 accepted, 1 user rejection, 2 no reason, 3 abstract syntax, 4 transfer syntaxes not supported.
        transfer_syntax: meaningful with result 0 only; "" where the peer sent none, or more than one.
    """

    context_id: int
    result: int
    transfer_syntax: str


_Context = TypeVar("_Context", PresentationContextRQ, PresentationContextAC)


class _PDU(Record):
    """What every PDU can do."""

    __slots__ = ()
    pdu_type: ClassVar[int]

    def encode(self) -> bytes:
        """The whole PDU, its six bytes of header included.

        Raises:
            UsageError: a value does not fit its field.
        """
        body = self._body()
        return struct.pack(">BxL", self.pdu_type, len(body)) + body

    def _body(self) -> bytes:
        return b"\0\0\0\0"


class _Received(_PDU):
    """A PDU that knows where it came from; two that say the same are equal all the same."""

    __slots__ = ("peer_address",)


class AssociateRQ(_Received):
    """A-ASSOCIATE-RQ (PS3.8 9.3.2).

    AE titles come without padding, and "" where blank. `application_context_name` is "" where the peer sent none.
    `unknown` holds type and value of each item PS3.8 does not define. `peer_address` is no part of the PDU: the
    acceptor's association tells in it the IP address the request came from.
    """

    __slots__ = (
        "application_context_name", "called_ae_title", "calling_ae_title", "presentation_contexts",
        "protocol_version", "unknown", "user_information",
    )  # fmt: skip
    pdu_type = A_ASSOCIATE_RQ

    def __init__(
        self,
        called_ae_title: str,
        calling_ae_title: str,
        presentation_contexts: tuple[PresentationContextRQ, ...],
        user_information: UserInformation,
        application_context_name: str = APPLICATION_CONTEXT_NAME,
        protocol_version: int = 1,
        unknown: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.called_ae_title = called_ae_title
        self.calling_ae_title = calling_ae_title
        self.presentation_contexts = tuple(presentation_contexts)
        self.user_information = user_information
        self.application_context_name = application_context_name
        self.protocol_version = protocol_version
        self.unknown = unknown
        self.peer_address = ""

    def _body(self) -> bytes:
        contexts = [_encode_context_rq(context) for context in self.presentation_contexts]
        return _encode_associate(self, contexts)


class AssociateAC(_PDU):
    """A-ASSOCIATE-AC (PS3.8 9.3.3): the titles are the request's, sent back and without meaning."""

    __slots__ = AssociateRQ.__slots__
    pdu_type = A_ASSOCIATE_AC

    def __init__(
        self,
        called_ae_title: str,
        calling_ae_title: str,
        presentation_contexts: tuple[PresentationContextAC, ...],
        user_information: UserInformation,
        application_context_name: str = APPLICATION_CONTEXT_NAME,
        protocol_version: int = 1,
        unknown: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.called_ae_title = called_ae_title
        self.calling_ae_title = calling_ae_title
        self.presentation_contexts = tuple(presentation_contexts)
        self.user_information = user_information
        self.application_context_name = application_context_name
        self.protocol_version = protocol_version
        self.unknown = unknown

    def _body(self) -> bytes:
        contexts = [_encode_context_ac(context) for context in self.presentation_contexts]
        return _encode_associate(self, contexts)


class AssociateRJ(_PDU):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4); `rejection.reject_reason` puts it into words."""

    __slots__ = ("reason", "result", "source")
    pdu_type = A_ASSOCIATE_RJ

    def __init__(self, result: int, source: int, reason: int) -> None:
        self.result, self.source, self.reason = result, source, reason

    def _body(self) -> bytes:
        return _four(0, self.result, self.source, self.reason)


class ReleaseRQ(_PDU):
    """A-RELEASE-RQ (PS3.8 9.3.6)."""

    __slots__ = ()
    pdu_type = A_RELEASE_RQ


class ReleaseRP(_PDU):
    """A-RELEASE-RP (PS3.8 9.3.7)."""

    __slots__ = ()
    pdu_type = A_RELEASE_RP


class Abort(_PDU):
    """A-ABORT (PS3.8 9.3.8): source 0 service user, 2 service provider; `reason` has a meaning with source 2."""

    __slots__ = ("reason", "source")
    pdu_type = A_ABORT

    def __init__(self, source: int = 0, reason: int = 0) -> None:
        self.source, self.reason = source, reason

    def _body(self) -> bytes:
        return _four(0, 0, self.source, self.reason)


PDU = AssociateRQ | AssociateAC | AssociateRJ | ReleaseRQ | ReleaseRP | Abort


def decode(pdu_type: int, body: Buffer) -> PDU:
    """Read a PDU from what follows its six bytes of header.

    Raises:
        ProtocolError: reason 1 where the type is none of these PDUs, reason 6 where the bytes are malformed.
    """
    decoder = _DECODERS.get(pdu_type)
    if decoder is None:
        raise ProtocolError(f"unrecognised PDU type {pdu_type:02X}H", reason=_UNRECOGNIZED_PDU)
    return decoder(bytes(body))


# --- encoding ----------------------------------------------------------------------------------------------------


def _encode_associate(pdu: AssociateRQ | AssociateAC, contexts: list[bytes]) -> bytes:
    if not 0 <= pdu.protocol_version <= 0xFFFF:
        raise UsageError(f"protocol version {pdu.protocol_version} is out of range")
    called, calling = _ae_title(pdu.called_ae_title), _ae_title(pdu.calling_ae_title)
    parts = [_ASSOCIATE.pack(pdu.protocol_version, called, calling)]
    if pdu.application_context_name:
        name = encode_text(pdu.application_context_name, "application context name")
        parts.append(encode_item(_APPLICATION_CONTEXT, name))
    parts.extend(contexts)
    parts.append(pdu.user_information.encode())
    parts.extend(encode_item(item_type, value) for item_type, value in pdu.unknown)
    return b"".join(parts)


def _encode_context_rq(context: PresentationContextRQ) -> bytes:
    parts = [_four(context.context_id, 0, 0, 0)]
    if context.abstract_syntax:
        parts.append(encode_item(_ABSTRACT_SYNTAX, encode_text(context.abstract_syntax, "abstract syntax")))
    for uid in context.transfer_syntaxes:
        parts.append(encode_item(_TRANSFER_SYNTAX, encode_text(uid, "transfer syntax")))
    return encode_item(_PRESENTATION_CONTEXT_RQ, *parts)


def _encode_context_ac(context: PresentationContextAC) -> bytes:
    parts = [_four(context.context_id, 0, context.result, 0)]
    if context.transfer_syntax:
        parts.append(encode_item(_TRANSFER_SYNTAX, encode_text(context.transfer_syntax, "transfer syntax")))
    return encode_item(_PRESENTATION_CONTEXT_AC, *parts)


def _ae_title(title: str) -> bytes:
    """Padded with spaces to 16 bytes (PS3.8 9.3.2)."""
    encoded = encode_text(title, "AE title")
    if len(encoded) > 16:
        raise UsageError(f"AE title {title!r} has {len(encoded)} characters", hint="16 are the most")
    return encoded.ljust(16)


def _four(*values: int) -> bytes:
    try:
        return bytes(values)
    except ValueError:
        raise UsageError(f"{values} do not all fit a byte of an association message") from None


# --- decoding ----------------------------------------------------------------------------------------------------


def _decode_associate_rq(body: bytes) -> AssociateRQ:
    version, called, calling, name, contexts, information, unknown = _decode_associate(
        body, _PRESENTATION_CONTEXT_RQ, _decode_context_rq, "A-ASSOCIATE-RQ"
    )
    return AssociateRQ(called, calling, contexts, information, name, version, unknown)


def _decode_associate_ac(body: bytes) -> AssociateAC:
    version, called, calling, name, contexts, information, unknown = _decode_associate(
        body, _PRESENTATION_CONTEXT_AC, _decode_context_ac, "A-ASSOCIATE-AC"
    )
    return AssociateAC(called, calling, contexts, information, name, version, unknown)


def _decode_associate(
    body: bytes, context_type: int, decode_context: Callable[[bytes], _Context], what: str
) -> tuple[int, str, str, str, tuple[_Context, ...], UserInformation, tuple[tuple[int, bytes], ...]]:
    """The items in any order; a device that leaves out the application context or user information is judged later."""
    if len(body) < _ASSOCIATE.size:
        raise ProtocolError(f"{what} of {len(body)} bytes is shorter than its fixed part of {_ASSOCIATE.size}")
    version, called, calling = _ASSOCIATE.unpack_from(body)
    name: str | None = None
    information: UserInformation | None = None
    contexts: list[_Context] = []
    unknown: list[tuple[int, bytes]] = []
    for item_type, value in iterate_items(body, _ASSOCIATE.size, what):
        if item_type == context_type:
            contexts.append(decode_context(value))
        elif item_type == _APPLICATION_CONTEXT and name is None:
            name = decode_text(value)
        elif item_type == USER_INFORMATION_ITEM and information is None:
            information = decode_user_information(value)
        elif item_type in (_APPLICATION_CONTEXT, USER_INFORMATION_ITEM):
            raise ProtocolError(f"{what} holds item {item_type:02X}H twice")
        else:
            unknown.append((item_type, value))
    return (
        version, decode_text(called), decode_text(calling), name or "", tuple(contexts),
        information or UserInformation(), tuple(unknown),
    )  # fmt: skip


def _decode_context_rq(value: bytes) -> PresentationContextRQ:
    abstract_syntaxes, transfer_syntaxes = _decode_context_items(value, "a proposed presentation context")
    abstract_syntax = abstract_syntaxes[0] if len(abstract_syntaxes) == 1 else ""
    return PresentationContextRQ(value[0], abstract_syntax, tuple(transfer_syntaxes))


def _decode_context_ac(value: bytes) -> PresentationContextAC:
    _, transfer_syntaxes = _decode_context_items(value, "an answered presentation context")
    transfer_syntax = transfer_syntaxes[0] if len(transfer_syntaxes) == 1 else ""
    return PresentationContextAC(value[0], value[2], transfer_syntax)


def _decode_context_items(value: bytes, what: str) -> tuple[list[str], list[str]]:
    if len(value) < 4:
        raise ProtocolError(f"{what} of {len(value)} bytes is shorter than its fixed part of 4")
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    for item_type, uid in iterate_items(value, 4, what):
        if item_type == _ABSTRACT_SYNTAX:
            abstract_syntaxes.append(decode_text(uid))
        elif item_type == _TRANSFER_SYNTAX:
            transfer_syntaxes.append(decode_text(uid))
    return abstract_syntaxes, transfer_syntaxes


def _decode_four(body: bytes, what: str) -> bytes:
    if len(body) != 4:
        raise ProtocolError(f"{what} is {len(body)} bytes long, not 4")
    return body


def _decode_associate_rj(body: bytes) -> AssociateRJ:
    return AssociateRJ(*_decode_four(body, "A-ASSOCIATE-RJ")[1:])


def _decode_release_rq(body: bytes) -> ReleaseRQ:
    _decode_four(body, "A-RELEASE-RQ")
    return ReleaseRQ()


def _decode_release_rp(body: bytes) -> ReleaseRP:
    _decode_four(body, "A-RELEASE-RP")
    return ReleaseRP()


def _decode_abort(body: bytes) -> Abort:
    return Abort(*_decode_four(body, "A-ABORT")[2:])


_DECODERS: dict[int, Callable[[bytes], PDU]] = {
    A_ASSOCIATE_RQ: _decode_associate_rq,
    A_ASSOCIATE_AC: _decode_associate_ac,
    A_ASSOCIATE_RJ: _decode_associate_rj,
    A_RELEASE_RQ: _decode_release_rq,
    A_RELEASE_RP: _decode_release_rp,
    A_ABORT: _decode_abort,
}

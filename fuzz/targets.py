"""One fuzz target per decoder. A target takes any bytes and returns; an exception out of it is a finding.

What each target holds: nothing but the documented error leaves the decoder, what was decoded survives encoding, and
the bytes may be cut anywhere without changing what is found. The first bytes of an input choose the variant (PDU
type, transfer syntax, where to cut), so that one corpus reaches all of them.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
import unicodedata
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy

from dcmkit import uids
from dcmkit.cli.dcmqrscp import parse_dcmqrscp
from dcmkit.dataset import elements
from dcmkit.dataset.bulk_data import stripped
from dcmkit.dataset.dump import Look, Printer
from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.dump_model import Model
from dcmkit.dataset.identifier import AnswerEncoder
from dcmkit.dataset.json_model import flat, from_json, to_json
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.dataset.scanner import DataSetScanner, ScannedHeader
from dcmkit.dataset.values import character_set, decode_values
from dcmkit.dataset.xml_model import to_dcm2xml, to_native_xml
from dcmkit.errors import (
    DcmkitError,
    InputError,
    InvalidDataSetError,
    ProtocolError,
    UnsupportedSyntaxError,
    UsageError,
)
from dcmkit.logs import escape
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codecs import available, encode_frame
from dcmkit.pixels.codestream import inspect, rle_segments
from dcmkit.pixels.description import PixelDescription
from dcmkit.protocol import message, pdata, pdu
from dcmkit.protocol.association import AssociationProtocol
from dcmkit.protocol.events import AssociateRequested, ReleaseRequested
from dcmkit.protocol.items import encode_item
from dcmkit.protocol.negotiation import AcceptedContexts, AcceptorPolicy, accept
from dcmkit.protocol.rejection import abort_reason, refuse, reject_reason
from dcmkit.protocol.user_information import (
    AsynchronousOperations,
    Role,
    SOPClassCommonExtended,
    SOPClassExtended,
    UserIdentity,
    UserInformation,
    decode_user_information,
)
from dcmkit.services.identifier import read_query, read_retrieve
from dcmkit.services.models import MODELS, FindExtended

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import deid_targets
import header_targets
import image_targets
import store_targets
import web_targets

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN
JPEG = "1.2.840.10008.1.2.4.50"
SYNTAXES = (
    EXPLICIT,
    IMPLICIT,
    uids.EXPLICIT_VR_BIG_ENDIAN,
    uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    JPEG,
    "1.2.840.10008.1.2.4.95",
    "1.2.3",
)
POLICY = AcceptorPolicy(
    dict.fromkeys(uids.STORAGE_SOP_CLASSES),
    accept_unknown=True,
    scp_roles={CT},
    extended=lambda item: item.information,
    identify=lambda identity: identity.primary if identity.type < 6 else None,
)


class Target(NamedTuple):
    """What to run, and where to begin."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


# --- association PDUs --------------------------------------------------------------------------------------------


def fuzz_pdu(data: bytes) -> None:
    """First byte: PDU type; the rest: its body."""
    if not data:
        return
    try:
        decoded = pdu.decode(data[0], data[1:])
    except ProtocolError as error:
        check(error.source == 2 and error.reason in (1, 6), "an abort PS3.8 knows")
        return
    again = decoded.encode()
    check(pdu.decode(again[0], again[6:]) == decoded, "decode after encode is identity")
    if isinstance(decoded, pdu.AssociateRJ):
        check(bool(reject_reason(decoded).message), "words for a rejection")
    elif isinstance(decoded, pdu.Abort):
        check(bool(abort_reason(decoded).message), "words for an abort")


def fuzz_user_information(data: bytes) -> None:
    """The value of a User Information item."""
    try:
        decoded = decode_user_information(data)
    except ProtocolError:
        return
    check(decode_user_information(decoded.encode()[4:]) == decoded, "decode after encode is identity")


def fuzz_negotiation(data: bytes) -> None:
    """The variable items of an A-ASSOCIATE-RQ; both sides must come to the same conclusion."""
    try:
        rq = pdu.decode(pdu.A_ASSOCIATE_RQ, b"\0\1\0\0" + b"SCP".ljust(16) + b"SCU".ljust(16) + bytes(32) + data)
    except ProtocolError:
        return
    check(isinstance(rq, pdu.AssociateRQ), "a request")
    assert isinstance(rq, pdu.AssociateRQ)
    refuse(rq)
    acceptance = accept(rq, POLICY)
    information = acceptance.user_information(16384, "1.2.3", "FUZZ")
    ac = pdu.AssociateAC("SCP", "SCU", acceptance.presentation_contexts, information)
    received = pdu.decode(pdu.A_ASSOCIATE_AC, ac.encode()[6:])
    check(received == ac, "decode after encode is identity")
    view = AcceptedContexts(rq.presentation_contexts, ac.presentation_contexts)
    check(view.contexts == acceptance.contexts.contexts, "both sides agree")
    ids = [context.context_id for context in rq.presentation_contexts]
    for context_id, (abstract_syntax, transfer_syntax) in view.contexts.items():
        check(context_id % 2 == 1 and ids.count(context_id) == 1, "a sound context id")
        check(uids.is_uid(abstract_syntax) and uids.is_uid(transfer_syntax), "sound UIDs")


# --- P-DATA and messages -----------------------------------------------------------------------------------------


def fuzz_pdata(data: bytes) -> None:
    """First byte: where to cut; the rest: what arrives on a connection."""
    if not data:
        return
    step, stream = data[0] + 1, data[1:]
    whole, refused = _read_all(stream, len(stream) or 1)
    pieces, refused_too = _read_all(stream, step)
    check(whole == pieces, "any cut gives the same items")
    check(refused == refused_too, "any cut gives the same error")


def _read_all(stream: bytes, step: int) -> tuple[list[Any], str]:
    """The items in `stream`, fragments of one PDV list joined, and the error that ended it."""
    reader = pdata.PDUReader(4096)
    found: list[Any] = []
    for start in range(0, len(stream), step):
        piece = stream[start : start + step]
        while piece:
            view = reader.lend()
            count = min(len(view), len(piece))
            view[:count] = piece[:count]
            reader.received(count)
            piece = piece[count:]
            try:
                while (item := reader.next()) is not None:
                    _join(found, item)
            except ProtocolError as error:
                return found, str(error)
    return [item for item in found if not _is_open_and_empty(item)], ""


def _is_open_and_empty(item: Any) -> bool:
    return isinstance(item, list) and not item[2] and not item[3]


def _join(found: list[Any], item: Any) -> None:
    if isinstance(item, pdata.ReceivedPDU):
        found.append((item.pdu_type, item.body))
        return
    key = [item.context_id, item.is_command]
    if found and isinstance(found[-1], list) and found[-1][:2] == key and not found[-1][3]:
        found[-1][2] += bytes(item.view)
        found[-1][3] = item.last
    else:
        found.append([*key, bytes(item.view), item.last])


def fuzz_command_set(data: bytes) -> None:
    """A command set as the PDVs of one message carried it."""
    try:
        decoded = message.decode(data)
    except ProtocolError:
        return
    repr(decoded)
    if not isinstance(decoded, message.UnknownMessage):
        again = decoded.encode()
        check(message.decode(again).encode() == again, "encode after decode is stable")


def fuzz_association(data: bytes) -> None:
    """First byte: where to cut; the rest: what a requestor sends to an acceptor that accepts everything."""
    if not data:
        return
    step = data[0] * 16 + 1
    protocol = AssociationProtocol(requestor=False, maximum_length=4096)
    try:
        for start in range(1, len(data), step):
            piece = data[start : start + step]
            while piece:
                view = protocol.lend()
                count = min(len(view), len(piece))
                view[:count] = piece[:count]
                protocol.received(count)
                piece = piece[count:]
                _drain(protocol)
        protocol.received_eof()
        _drain(protocol)
    except ProtocolError:
        protocol.abort(2, 6)


def _drain(protocol: AssociationProtocol) -> None:
    for _ in range(1 << 17):
        event = protocol.next_event()
        if event is None or type(event).__name__ == "TransportClosed":
            return
        if isinstance(event, AssociateRequested):
            answers = accept(event.rq, POLICY).presentation_contexts
            protocol.accept(pdu.AssociateAC("SCP", "SCU", answers, UserInformation(4096)))
        elif isinstance(event, ReleaseRequested):
            protocol.release_response()
    check(False, "an end of the events")


# --- data sets ---------------------------------------------------------------------------------------------------


def fuzz_data_set(data: bytes) -> None:
    """First byte: transfer syntax; second: where to cut; the rest: an encoded data set."""
    if len(data) < 2:
        return
    syntax, step, encoded = SYNTAXES[data[0] % len(SYNTAXES)], data[1] * 8 + 1, data[2:]
    whole = _scan(syntax, encoded, len(encoded) or 1, skip=False)
    check(whole == _scan(syntax, encoded, step, skip=False), "any cut gives the same header")
    check(whole == _scan(syntax, encoded, step, skip=True), "skipping gives the same header")
    if whole is not None:
        charset = whole.values.get(0x00080005)
        for text in decode_values(whole.values, charset, big_endian=whole.big_endian).values():
            text.encode("utf-8")


WANTED = frozenset({0x00080005, 0x00080016, 0x00080018, 0x00100010, 0x0020000D, 0x00280010, 0x7FE00010})


def _scan(syntax: str, encoded: bytes, step: int, *, skip: bool) -> ScannedHeader | None:
    """What the scanner finds, or None for a data set it refuses."""
    scanner = DataSetScanner(syntax, WANTED)
    try:
        at = 0
        while at < len(encoded):
            if skip and scanner.skippable:
                count = min(scanner.skippable, len(encoded) - at)
                scanner.skip(count)
            else:
                count = min(step, len(encoded) - at)
                scanner.feed(memoryview(encoded)[at : at + count])
            at += count
        return scanner.finish()
    except InvalidDataSetError:
        return None


def fuzz_part10(data: bytes) -> None:
    """First byte: whether a bare data set is welcome; the rest: a file."""
    if not data:
        return
    allow_bare, content = bool(data[0] & 1), data[1:]
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(content)
        try:
            header = read_file_header(file.fileno(), allow_bare=allow_bare)
        except InputError:
            return
    check(0 <= header.offset <= len(content), "an offset in the file")
    check(header.offset + header.length <= len(content), "a length in the file")
    for text in header[:3]:
        check(isinstance(text, str), "texts")


def fuzz_values(data: bytes) -> None:
    """Up to the first byte 0x0A: Specific Character Set; the rest: a value, read as text and as numbers."""
    charset, _, raw = data.partition(b"\n")
    texts = decode_values({0x00100010: raw}, charset)
    texts[0x00100010].encode("utf-8")
    for vr in ("US", "SS", "UL", "SL", "FL", "FD", "AT"):
        for big_endian in (False, True):
            decode_values({0x00280010: raw}, charset, {0x00280010: vr}, big_endian=big_endian)


def fuzz_character_sets(data: bytes) -> None:
    """Up to the first byte 0x0A: Specific Character Set; the rest: UTF-8 text to write in it."""
    terms, _, raw = data.partition(b"\n")
    charset, text = character_set(terms), raw.decode("utf-8", "replace")
    try:
        encoded = charset.encode(text)
    except UnicodeEncodeError:
        return
    check(charset.decode(encoded) == unicodedata.normalize("NFC", text), "decode after encode is identity")


# --- identifiers -------------------------------------------------------------------------------------------------


def fuzz_elements(data: bytes) -> None:
    """First byte: transfer syntax, and whether a character set is assumed; the rest: an encoded data set."""
    if not data:
        return
    syntax, assumed = SYNTAXES[data[0] % 4], ("", "ISO_IR 144", "\\ISO 2022 IR 87")[data[0] // 4 % 3]
    try:
        data_set = elements.decode(data[1:], syntax, assume_charset=assumed, override_charset=data[0] > 127)
    except InvalidDataSetError:
        return
    _written(data_set)
    try:
        again = elements.encode(data_set, EXPLICIT, charset="ISO_IR 192")
    except InvalidDataSetError as error:
        check("too long" in error.message, "only what is too long for explicit VR cannot be encoded")
        return
    check(elements.decode(again, EXPLICIT).keys() == data_set.keys() | {0x00080005}, "nothing is lost on the way")


def fuzz_json_model(data: bytes) -> None:
    """A data set in the DICOM JSON model."""
    try:
        data_set = from_json(json.loads(data))
    except (ValueError, RecursionError, InvalidDataSetError):
        return
    _written(data_set)
    again = to_json(data_set)
    check(to_json(from_json(again)) == again, "from JSON after to JSON is identity")


def _written(data_set: elements.DataSet) -> None:
    """Every form a data set is written in can be read by others."""
    json.dumps(to_json(data_set), allow_nan=False).encode("utf-8")
    for text in flat(data_set).values():
        text.encode("utf-8")
    for document in (to_native_xml(data_set), to_dcm2xml(data_set)):
        ElementTree.fromstring(document.encode("utf-8"))  # only of our own making


def fuzz_requests(data: bytes) -> None:
    """First byte: model, level and what was negotiated; the rest: the identifier of a C-FIND-RQ or C-MOVE-RQ."""
    if not data:
        return
    variant = data[0]
    try:
        identifier = elements.decode(data[1:], EXPLICIT)
    except InvalidDataSetError:
        return
    model, strict = MODELS[variant % 3], bool(variant & 8)
    identifier[0x00080052] = elements.element(0x00080052, model.levels[variant // 16 % len(model.levels)])
    extended = FindExtended(*[bool(variant & bit) for bit in (1, 2, 4)])
    try:
        asked = read_query(identifier, model, extended, retrieve_ae_title="QR", strict=strict)
    except DcmkitError:
        pass
    else:
        row = [("Zoë\\x", None, 7, "1.2.3")[at % 4] for at in range(len(asked.query.keys))]
        answer = AnswerEncoder(asked.fields, EXPLICIT, asked.charset).encode(row)
        check(0x00080052 in elements.decode(answer, EXPLICIT), "every answer tells its level")
    try:
        _, query = read_retrieve(identifier, model, strict=strict)
    except DcmkitError:
        return
    check(all("*" not in value for values in query.match.values() for value in values), "no wild cards")


def fuzz_bulk_data(data: bytes) -> None:
    """First byte: transfer syntax; the rest: an encoded data set."""
    if not data:
        return
    syntax = SYNTAXES[data[0] % 3]
    try:
        left = stripped(data[1:], syntax)
    except InvalidDataSetError:
        return
    check(len(left) <= len(data) + 12, "nothing is added but a length")
    check(stripped(left, syntax) == left, "what has no bulk data stays as it is")


def fuzz_dcmqrscp(data: bytes) -> None:
    """A dcmqrscp.cfg."""
    try:
        found = parse_dcmqrscp(data.decode("utf-8", "surrogateescape"))
    except UsageError:
        return
    check(all(served.directory for served in found.served), "every AE title has a storage area")


# --- pixels ------------------------------------------------------------------------------------------------------

CODESTREAMS = sorted(
    syntaxes.JPEG_FAMILY | syntaxes.JPEG_LS_FAMILY | syntaxes.JPEG_2000_FAMILY | syntaxes.HTJ2K_FAMILY
    | syntaxes.JPEG_XL_FAMILY | {syntaxes.RLE}
)  # fmt: skip


def fuzz_codestream(data: bytes) -> None:
    """The header of a frame's codestream; the first byte chooses the transfer syntax."""
    syntax, codestream = CODESTREAMS[data[0] % len(CODESTREAMS)] if data else "", data[1:]
    try:
        info = inspect(codestream, syntax)
    except (InvalidDataSetError, UnsupportedSyntaxError):
        return
    check(info == inspect(memoryview(codestream), syntax), "a view is read as bytes are")
    check(0 <= info.start <= len(codestream), "a codestream begins within its data")
    if syntax == syntaxes.RLE and info.complete:
        check(sum(map(len, rle_segments(codestream))) == len(codestream) - 64, "segments are all there is")


# --- seeds -------------------------------------------------------------------------------------------------------


def check(holds: bool, what: str) -> None:
    """An assertion that stays under `python -O`."""
    if not holds:
        raise AssertionError(f"does not hold: {what}")


def _information() -> UserInformation:
    return UserInformation(
        16384, "1.2.3", "FUZZ_1", AsynchronousOperations(3, 1), (Role(CT, True, True), Role("1.2.3", False, True)),
        (SOPClassExtended(CT, b"\1\0\1"),), (SOPClassCommonExtended("1.2.3", "1.2.840.10008.4.2", (CT, "1.2")),),
        UserIdentity(2, True, b"user", b"password"), unknown=((0x60, b"vendor"),),
    )  # fmt: skip


def _request(information: UserInformation) -> pdu.AssociateRQ:
    contexts = (
        pdu.PresentationContextRQ(1, uids.VERIFICATION, (IMPLICIT,)),
        pdu.PresentationContextRQ(3, CT, (EXPLICIT, IMPLICIT)),
        pdu.PresentationContextRQ(5, "1.2.3.4", (JPEG,)),
        pdu.PresentationContextRQ(5, "", ()),
    )
    return pdu.AssociateRQ("SCP", "SCU", contexts, information)


def _answer() -> pdu.AssociateAC:
    contexts = (pdu.PresentationContextAC(1, 0, IMPLICIT), pdu.PresentationContextAC(3, 4, ""))
    return pdu.AssociateAC("SCP", "SCU", contexts, UserInformation(4096, "1.2", user_identity_response=b"ok"))


def _pdus() -> list[bytes]:
    everything = (
        _request(_information()), _request(UserInformation(0)), _answer(), pdu.AssociateRJ(1, 1, 7), pdu.ReleaseRQ(),
        pdu.ReleaseRP(), pdu.Abort(2, 6),
    )  # fmt: skip
    return [one.encode() for one in everything]


def _messages() -> list[bytes]:
    return [
        message.C_ECHO_RQ(message_id=1, affected_sop_class_uid=uids.VERIFICATION).encode(),
        message.C_STORE_RQ(
            message_id=7, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.4", priority=0,
            move_originator_ae_title="MOVER", move_originator_message_id=3,
        ).encode(),
        message.C_STORE_RSP(
            message_id_being_responded_to=7, status=0xA700, error_comment="disk full", offending_element=(0x00080018,),
            affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.4",
        ).encode(),
    ]  # fmt: skip


def _p_data(context_id: int, command: bytes, data_set: bytes = b"") -> bytes:
    buffers = pdata.pdata(context_id, command, 64, is_command=True)
    if data_set:
        buffers += pdata.pdata(context_id, data_set, 50, is_command=False)
    return b"".join(buffers)


def _element(tag: int, vr: str, value: bytes, order: str = "<") -> bytes:
    value += b"\0" * (len(value) % 2)
    group, element = tag >> 16, tag & 0xFFFF
    if not vr:
        return struct.pack("<HHL", group, element, len(value)) + value
    if vr in ("OB", "OW", "SQ", "UN"):
        return struct.pack(f"{order}HH2sHL", group, element, vr.encode(), 0, len(value)) + value
    return struct.pack(f"{order}HH2sH", group, element, vr.encode(), len(value)) + value


def _data_set(vrs: bool = True, order: str = "<") -> bytes:
    def one(tag: int, vr: str, value: bytes) -> bytes:
        return _element(tag, vr if vrs else "", value, order)

    item = struct.pack(f"{order}HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + one(0x00080050, "SH", b"1")
    item += struct.pack(f"{order}HHL", 0xFFFE, 0xE00D, 0)
    sequence = struct.pack(f"{order}HH", 0x0008, 0x1110) + (b"SQ\0\0" if vrs else b"") + b"\xff\xff\xff\xff"
    sequence += item * 2 + struct.pack(f"{order}HHL", 0xFFFE, 0xE0DD, 0)
    return b"".join((
        one(0x00080005, "CS", b"ISO_IR 100"), one(0x00080016, "UI", CT.encode()), one(0x00080018, "UI", b"1.2.3.4"),
        sequence, one(0x00081140, "SQ", struct.pack(f"{order}HHL", 0xFFFE, 0xE000, 0)),
        one(0x00090010, "LO", b"VENDOR"), one(0x00091001, "UN", b"\1\2\3\4"), one(0x00100010, "PN", b"Name^Fuzz"),
        one(0x0020000D, "UI", b"1.2.3"), one(0x00280010, "US", struct.pack(f"{order}H", 4)),
        one(0x7FE00010, "OW", bytes(32)),
    ))  # fmt: skip


def _data_sets() -> list[tuple[int, bytes]]:
    """Index into `SYNTAXES`, and a data set encoded so."""
    explicit, deflate = _data_set(), zlib.compressobj(9, zlib.DEFLATED, -15)
    fragments = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(f)) + f for f in (b"", b"\xff\xd8\xff\xd9", b"1234"))
    pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + fragments + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return [
        (0, explicit), (1, _data_set(vrs=False)), (2, _data_set(order=">")),
        (3, deflate.compress(explicit) + deflate.flush()), (4, explicit[:-44] + pixels), (6, explicit),
    ]  # fmt: skip


def _files() -> list[bytes]:
    files = [file_meta(CT, "1.2.3.4", SYNTAXES[index]) + encoded for index, encoded in _data_sets()]
    return [*files, files[0][128:], files[0][132:], _data_set(), _data_set(vrs=False)]


def _conversations() -> list[bytes]:
    rq, echo, (store, data_set) = _pdus()[1], _messages()[0], (_messages()[1], _data_set())
    release = pdu.ReleaseRQ().encode()
    return [
        rq + _p_data(1, echo) + release,
        rq + _p_data(3, store, data_set) + _p_data(1, echo) * 2 + release,
        rq + pdu.Abort(0, 0).encode(),
    ]


def _identifiers() -> list[bytes]:
    """A byte for the variant, and an identifier."""
    japanese = elements.element(0x00100010, "Yamada^Tarou=山田^太郎")
    step = {0x00080060: elements.element(0x00080060, "CT\\MR"), 0x00100010: japanese}
    data_set = {
        0x00100010: japanese,
        0x00280010: elements.element(0x00280010, "512"),
        0x00400100: elements.element(0x00400100, [step, {}]),
        0x00189073: elements.element(0x00189073, "2.5"),
        0x00091001: elements.element(0x00091001, b"12"),
    }
    return [
        bytes((index,)) + elements.encode(data_set, SYNTAXES[index % 4], charset=charset)
        for index, charset in ((0, "\\ISO 2022 IR 87"), (1, "ISO_IR 192"), (2, "GB18030"), (3, "\\ISO 2022 IR 87"))
    ]


def _jsons() -> list[bytes]:
    sets = [elements.decode(one[1:], SYNTAXES[one[0] % 4]) for one in _identifiers()[:2]]
    return [json.dumps(to_json(one), ensure_ascii=False).encode() for one in sets]


def _requests() -> list[bytes]:
    keys = {
        0x00080005: "ISO_IR 100", 0x00080020: "20240101-", 0x00080056: "", 0x00080060: "CT", 0x00080061: "",
        0x00080018: "1.2.3\\1.2.4", 0x00100010: "M?ller*", 0x00100020: "4711", 0x0020000D: "1.2", 0x0020000E: "1.2.5",
        0x00201208: "", 0x00090010: "ACME", 0x00321060: "",
    }  # fmt: skip
    item = {0x00400009: elements.element(0x00400009, "S*"), 0x00321060: elements.element(0x00321060)}
    identifier = {tag: elements.element(tag, value) for tag, value in keys.items()}
    identifier[0x00400275] = elements.element(0x00400275, [item])
    return [bytes((variant,)) + elements.encode(identifier, EXPLICIT) for variant in (0, 17, 34, 63)]


_DCMQRSCP = b"""NetworkTCPPort = 104
HostTable BEGIN
a = (A, localhost, 104), \\
    (B, "192.0.2.1", 105)
HostTable END
AETable BEGIN
ONE /data/one RW (200, 1024mb) a
TWO "/data/two" R (1, 5gb) ANY
AETable END
"""


def fuzz_dump(data: bytes) -> None:
    """Any file is printed up to its damage, in lines without anything a terminal obeys, and as a data set."""
    look = Look(short=bool(data[:1] < b"\x80"), tree=data[:1] == b"\1")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data[1:])
        file.flush()
        try:
            with DumpFile(file.name) as dumped:
                for line in Printer(dumped, look).lines():
                    assert escape(line) == line
                for error in dumped.errors:
                    assert "offset" in str(error)
                model = Model(dumped, dumped.nodes)
                to_json(model.data_set, bulk_data=model.bulk_data)
        except InputError:
            pass


def _codestreams() -> list[bytes]:
    image, description = numpy.arange(24 * 20, dtype="u1").reshape(24, 20), PixelDescription(24, 20, 1, "", 8, 8, 7)
    described = description._replace(photometric_interpretation="MONOCHROME2")
    encoded = {one.transfer_syntax_uid for one in available() if one.encoders}
    return [
        bytes((i,)) + encode_frame(image, syntax, described).data
        for i, syntax in enumerate(CODESTREAMS)
        if syntax in encoded
    ]


_RUNS = image_targets.RUNS | deid_targets.RUNS | header_targets.RUNS | store_targets.RUNS | web_targets.RUNS


def _targets() -> dict[str, Target]:
    request_items = [one[6 + 68 :] for one in _pdus()[:2]]
    conversations = [bytes((cut,)) + one for cut in (0, 7, 255) for one in _conversations()]
    values = [
        b"ISO 2022 IR 6\\ISO 2022 IR 87\n\x1b$B;3ED\x1b(B^\x1b$BB@O:",
        b"ISO_IR 192\n\xe6\x9d\xb1",
        b"\n1.5\\2\0\0\1",
    ]
    character_sets = [
        "\\ISO 2022 IR 87\\ISO 2022 IR 159\nYamada=山田^鷗".encode(),
        "ISO 2022 IR 100\\ISO 2022 IR 149\\ISO 2022 IR 58\nHong^é=洪^吉洞".encode(),
        "ISO 2022 IR 13\\ISO 2022 IR 126\nﾔﾏ^Διο".encode(),
        "GB18030\n王^小东".encode(),
    ]
    return {
        "pdu": Target(fuzz_pdu, tuple(one[:1] + one[6:] for one in _pdus())),
        "user_information": Target(fuzz_user_information, (_information().encode()[4:], encode_item(0x59, b"\0\0"))),
        "negotiation": Target(fuzz_negotiation, tuple(request_items)),
        "pdata": Target(fuzz_pdata, tuple(conversations)),
        "command_set": Target(fuzz_command_set, tuple(_messages())),
        "association": Target(fuzz_association, tuple(conversations)),
        "data_set": Target(fuzz_data_set, tuple(bytes((i, 3)) + encoded for i, encoded in _data_sets())),
        "dump": Target(fuzz_dump, tuple(bytes((look,)) + one for look in (0, 1, 128) for one in _files())),
        "part10": Target(fuzz_part10, tuple(bytes((bare,)) + one for bare in (0, 1) for one in _files())),
        "values": Target(fuzz_values, tuple(values)),
        "character_sets": Target(fuzz_character_sets, tuple(character_sets)),
        "elements": Target(fuzz_elements, (*_identifiers(), *(bytes((i,)) + one for i, one in _data_sets()[:4]))),
        "json_model": Target(fuzz_json_model, tuple(_jsons())),
        "requests": Target(fuzz_requests, tuple(_requests())),
        "bulk_data": Target(fuzz_bulk_data, tuple(bytes((i,)) + encoded for i, encoded in _data_sets())),
        "codestream": Target(fuzz_codestream, tuple(_codestreams())),
        "dcmqrscp": Target(fuzz_dcmqrscp, (_DCMQRSCP,)),
        **{name: Target(*found) for name, found in _RUNS.items()},
    }


TARGETS = _targets()
"""Every target by name."""

if os.name == "nt":  # a temporary file cannot be read back through its descriptor position there
    del TARGETS["part10"], TARGETS["dump"]

"""The PDUs that open and close an association (PS3.8 9.3)."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit import uids
from dcmkit.errors import ProtocolError, UsageError
from dcmkit.protocol import pdu
from dcmkit.protocol.items import encode_item, encode_sized
from dcmkit.protocol.pdu import PresentationContextAC, PresentationContextRQ
from dcmkit.protocol.user_information import Role, UserIdentity, UserInformation

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"

# What padding would change cannot come back; everything else must.
TEXTS = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=80).filter(lambda t: t == t.strip("\0 "))
TITLES = TEXTS.map(lambda text: text[:16].strip("\0 "))
BYTES = st.integers(0, 255)
INFORMATION = st.sampled_from(
    [
        UserInformation(),
        UserInformation(16384, "1.2.3", "NAME", roles=(Role(CT, True, True),)),
        UserInformation(0xFFFFFFFF, user_identity=UserIdentity(2, True, b"me", b"secret")),
        UserInformation(user_identity_response=b"", unknown=((0x60, b"?"),)),
    ]
)
CONTEXTS_RQ = st.builds(PresentationContextRQ, BYTES, TEXTS, st.lists(TEXTS, max_size=4).map(tuple))
CONTEXTS_AC = st.builds(PresentationContextAC, BYTES, BYTES, TEXTS)
UNKNOWN = st.lists(
    st.tuples(BYTES.filter(lambda t: t not in (0x10, 0x20, 0x21, 0x50)), st.binary(max_size=9)), max_size=2
).map(tuple)


def associates(cls: type, contexts: st.SearchStrategy) -> st.SearchStrategy:  # type: ignore[type-arg]
    several = st.lists(contexts, max_size=5).map(tuple)
    return st.builds(cls, TITLES, TITLES, several, INFORMATION, TEXTS, st.integers(0, 0xFFFF), UNKNOWN)


PDUS = st.one_of(
    associates(pdu.AssociateRQ, CONTEXTS_RQ),
    associates(pdu.AssociateAC, CONTEXTS_AC),
    st.builds(pdu.AssociateRJ, BYTES, BYTES, BYTES),
    st.just(pdu.ReleaseRQ()),
    st.just(pdu.ReleaseRP()),
    st.builds(pdu.Abort, BYTES, BYTES),
)


def request(*items: bytes, version: int = 1, called: bytes = b"SCP", calling: bytes = b"SCU") -> pdu.AssociateRQ:
    """An A-ASSOCIATE-RQ made of raw items, decoded."""
    fixed = struct.pack(">H2x16s16s32x", version, called.ljust(16), calling.ljust(16))
    decoded = pdu.decode(1, fixed + b"".join(items))
    assert isinstance(decoded, pdu.AssociateRQ)
    return decoded


def context(context_id: int, *uids: tuple[int, bytes]) -> bytes:
    return encode_item(0x20, bytes((context_id, 0, 0, 0)), *(encode_item(kind, uid) for kind, uid in uids))


@given(PDUS)
def test_decode_after_encode_is_identity(original: pdu.PDU) -> None:
    encoded = original.encode()
    pdu_type, length = struct.unpack(">BxL", encoded[:6])
    assert length == len(encoded) - 6
    decoded = pdu.decode(pdu_type, encoded[6:])
    assert decoded == original
    assert pdu.decode(pdu_type, memoryview(bytearray(encoded))[6:]) == original
    assert repr(decoded) == repr(original)
    assert hash(decoded) == hash(original)


@given(PDUS, st.data())
def test_any_mutation_is_read_or_a_protocol_error(original: pdu.PDU, data: st.DataObject) -> None:
    encoded = original.encode()
    body = bytearray(encoded[6:])
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(BYTES)
    check_garbage(encoded[0], bytes(body[: data.draw(st.integers(0, len(body)))]))


@given(BYTES, st.binary(max_size=200), st.booleans())
def test_any_garbage_is_read_or_a_protocol_error(pdu_type: int, garbage: bytes, fixed_part: bool) -> None:
    check_garbage(pdu_type, bytes(68) + garbage if fixed_part else garbage)


def check_garbage(pdu_type: int, garbage: bytes) -> None:
    try:
        decoded = pdu.decode(pdu_type, garbage)
    except ProtocolError as error:
        assert (error.source, error.reason) in ((2, 6), (2, 1))  # noqa: PT017
    else:
        assert pdu.decode(pdu_type, decoded.encode()[6:]) == decoded


@pytest.mark.parametrize("pdu_type", [0, 4, 8, 22, 71, 255])
def test_other_pdu_types_are_unrecognised(pdu_type: int) -> None:
    with pytest.raises(ProtocolError, match="unrecognised PDU type") as caught:
        pdu.decode(pdu_type, b"")
    assert caught.value.reason == 1


@pytest.mark.parametrize("pdu_type", [3, 5, 6, 7])
@pytest.mark.parametrize("body", [b"", bytes(3), bytes(5)])
def test_short_pdus_have_four_bytes(pdu_type: int, body: bytes) -> None:
    with pytest.raises(ProtocolError, match="not 4") as caught:
        pdu.decode(pdu_type, body)
    assert caught.value.reason == 6


def test_the_bytes_of_the_short_pdus() -> None:
    assert pdu.AssociateRJ(1, 2, 3).encode() == bytes.fromhex("03 00 00000004 00 01 02 03")
    assert pdu.ReleaseRQ().encode() == bytes.fromhex("05 00 00000004 00000000")
    assert pdu.ReleaseRP().encode() == bytes.fromhex("06 00 00000004 00000000")
    assert pdu.Abort(2, 6).encode() == bytes.fromhex("07 00 00000004 0000 02 06")
    assert pdu.ReleaseRQ() != pdu.ReleaseRP()


@pytest.mark.parametrize("pdu_type", [1, 2])
@pytest.mark.parametrize(
    "items",
    [
        b"\x10",
        encode_item(0x10, b"1.2.3") + b"\0",
        encode_item(0x10, b"1.2.3") * 2,
        encode_item(0x50) * 2,
        b"\x10\0\0\x09" + b"1.2.3",
        encode_item(0x20, b"\1\0\0") + encode_item(0x21, b"\1\0\0"),
        encode_item(0x20, b"\1\0\0\0\x30\0\0\x09" + b"1.2") + encode_item(0x21, b"\1\0\0\0\x30\0\0\x09" + b"1.2"),
        encode_item(0x50, b"\x51\0\0\4\0"),
    ],
)
def test_malformed_associate_pdus(pdu_type: int, items: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        pdu.decode(pdu_type, b"\0\1" + bytes(66) + items)
    assert caught.value.reason == 6


def test_an_associate_pdu_shorter_than_its_fixed_part() -> None:
    with pytest.raises(ProtocolError, match="67 bytes is shorter than its fixed part of 68"):
        pdu.decode(1, bytes(67))


def test_what_the_acceptor_must_judge_is_handed_on() -> None:
    rq = request(version=2, called=b"", calling=b"\0\0  \0")
    assert rq.protocol_version == 2
    assert rq.application_context_name == ""
    assert rq.called_ae_title == rq.calling_ae_title == ""
    assert rq.presentation_contexts == ()
    assert rq.user_information == UserInformation()


@pytest.mark.parametrize("padded", [b"STORE", b"STORE\0\0\0", b"  STORE ", b"STORE\0 \0 "])
def test_ae_titles_lose_their_padding(padded: bytes) -> None:
    assert request(called=padded).called_ae_title == "STORE"


def test_ae_titles_that_are_not_ascii_can_be_read() -> None:
    assert request(called="東京".encode()).called_ae_title == "東京".encode().decode("latin-1")


def test_items_in_any_order_with_unknown_ones_between() -> None:
    rq = request(
        encode_item(0x50, encode_item(0x51, struct.pack(">L", 4096))),
        encode_item(0x99, b"vendor"),
        context(1, (0x40, b"1.2\0"), (0x77, b"?"), (0x30, b"1.3 "), (0x40, b"1.4")),
        encode_item(0x10, b"1.2.840.10008.3.1.1.1\0"),
        encode_item(0x21, b""),
    )
    assert rq.application_context_name == uids.APPLICATION_CONTEXT_NAME
    assert rq.presentation_contexts == (PresentationContextRQ(1, "1.3", ("1.2", "1.4")),)
    assert rq.user_information.maximum_length == 4096
    assert rq.unknown == ((0x99, b"vendor"), (0x21, b""))


def test_contexts_that_cannot_be_accepted_are_read_so_that_they_are_not() -> None:
    rq = request(
        context(1),
        context(3, (0x30, b"1.2")),
        context(5, (0x30, b"1.2"), (0x30, b"1.3"), (0x40, b"1.4")),
        context(5, (0x30, b""), (0x40, b"")),
        context(0, (0x30, b"9" * 300), (0x40, b"1.4")),
    )
    assert rq.presentation_contexts == (
        PresentationContextRQ(1, "", ()),
        PresentationContextRQ(3, "1.2", ()),
        PresentationContextRQ(5, "", ("1.4",)),
        PresentationContextRQ(5, "", ("",)),
        PresentationContextRQ(0, "9" * 300, ("1.4",)),
    )


def test_answered_contexts_without_or_with_several_syntaxes() -> None:
    fixed = b"\0\1" + bytes(66)
    none = encode_item(0x21, b"\1\0\0\0")
    empty = encode_item(0x21, b"\3\0\3\0", encode_item(0x40))
    two = encode_item(0x21, b"\5\0\0\0", encode_item(0x40, b"1.2"), encode_item(0x40, b"1.3"))
    ac = pdu.decode(2, fixed + none + empty + two)
    assert isinstance(ac, pdu.AssociateAC)
    assert ac.presentation_contexts == (
        PresentationContextAC(1, 0, ""),
        PresentationContextAC(3, 3, ""),
        PresentationContextAC(5, 0, ""),
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: pdu.AssociateRQ("SEVENTEEN LETTERS", "B", (), UserInformation()),
        lambda: pdu.AssociateRQ("東京", "B", (), UserInformation()),
        lambda: pdu.AssociateRQ("A", "B", (), UserInformation(), protocol_version=65536),
        lambda: pdu.AssociateRQ("A", "B", (PresentationContextRQ(256, CT, (IMPLICIT,)),), UserInformation()),
        lambda: pdu.AssociateRQ("A", "B", (PresentationContextRQ(1, "1" * 65536, ()),), UserInformation()),
        lambda: pdu.AssociateRJ(-1, 0, 0),
    ],
)
def test_values_that_do_not_fit(build) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError):
        build().encode()


def test_hostile_requests_are_linear_work() -> None:
    empty_context = context(1)
    role = encode_item(0x54, encode_sized(b"1.2"), b"\1\1")
    began = time.process_time()
    rq = request(empty_context * 50_000, encode_item(0x99) * 50_000, encode_item(0x50, role * 5900))
    assert len(rq.presentation_contexts) == len(rq.unknown) == 50_000
    assert len(request(encode_item(0x20, bytes(4), encode_item(0x40) * 16_000)).presentation_contexts) == 1
    assert time.process_time() - began < 5  # quadratic work would take minutes


# --- pynetdicom as an independent peer ---------------------------------------------------------------------------


def captures() -> list[tuple[str, bytes]]:
    try:
        from pynetdicom.tests import encoded_pdu_items
    except ImportError:
        return []
    associate = [(name, value) for name, value in vars(encoded_pdu_items).items() if name.startswith(("a_", "p_d"))]
    return [(name, value) for name, value in associate if isinstance(value, bytes) and value[0] in range(1, 8)]


CAPTURES = captures()
# Sub-items in an order other than ours, or an empty sub-item where we send none.
OTHER_BYTES = {
    "a_associate_ac_user", "a_associate_ac_zero_ts", "a_associate_rq_role", "a_associate_rq_user_async",
    "a_associate_rq_user_id_ext_neg", "a_associate_rq_user_id_user_pass",
}  # fmt: skip


@pytest.mark.skipif(not CAPTURES, reason="pynetdicom's test captures are not installed")
@pytest.mark.parametrize(("name", "capture"), CAPTURES, ids=[name for name, _ in CAPTURES])
def test_captures_of_pynetdicom(name: str, capture: bytes) -> None:
    if capture[0] == pdu.P_DATA_TF:
        return
    decoded = pdu.decode(capture[0], capture[6:])
    encoded = decoded.encode()
    assert pdu.decode(encoded[0], encoded[6:]) == decoded
    if name in OTHER_BYTES:
        assert len(encoded) in (len(capture), len(capture) - 4)
    else:
        assert encoded == capture


def test_pynetdicom_reads_a_request_the_same() -> None:
    peer = pytest.importorskip("pynetdicom.pdu")
    ours = pdu.AssociateRQ(
        "CALLED",
        "CALLING",
        (PresentationContextRQ(1, CT, (EXPLICIT, IMPLICIT)), PresentationContextRQ(255, "1.2.3", (IMPLICIT,))),
        UserInformation(65536, "1.2.3", "NAME"),
    )
    theirs = peer.A_ASSOCIATE_RQ()
    theirs.decode(ours.encode())
    assert theirs.encode() == ours.encode()
    assert (theirs.called_ae_title, theirs.calling_ae_title) == ("CALLED", "CALLING")
    assert theirs.application_context_name == uids.APPLICATION_CONTEXT_NAME
    contexts = [(c.context_id, c.abstract_syntax, c.transfer_syntax) for c in theirs.presentation_context]
    assert contexts == [(1, CT, [EXPLICIT, IMPLICIT]), (255, "1.2.3", [IMPLICIT])]
    assert theirs.user_information.maximum_length == 65536


def test_pynetdicom_reads_the_answers_the_same() -> None:
    peer = pytest.importorskip("pynetdicom.pdu")
    ac = pdu.AssociateAC(
        "CALLED",
        "CALLING",
        (PresentationContextAC(1, 0, EXPLICIT), PresentationContextAC(3, 3, IMPLICIT)),
        UserInformation(65536, "1.2.3", "NAME"),
    )
    theirs = peer.A_ASSOCIATE_AC()
    theirs.decode(ac.encode())
    assert [(c.context_id, c.result, c.transfer_syntax) for c in theirs.presentation_context] == [
        (1, 0, EXPLICIT),
        (3, 3, IMPLICIT),
    ]
    rejection = peer.A_ASSOCIATE_RJ()
    rejection.decode(pdu.AssociateRJ(2, 3, 2).encode())
    assert (rejection.result, rejection.source, rejection.reason_diagnostic) == (2, 3, 2)
    abort = peer.A_ABORT_RQ()
    abort.decode(pdu.Abort(2, 6).encode())
    assert (abort.source, abort.reason_diagnostic) == (2, 6)

"""Presentation contexts: proposing, accepting, using (PS3.7 D.3, PS3.8 9.3)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit import uids
from dcmkit.errors import ProtocolError
from dcmkit.protocol import negotiation, pdu
from dcmkit.protocol.negotiation import AcceptedContexts, AcceptorPolicy, accept, agreed_roles, propose
from dcmkit.protocol.pdu import AssociateRJ, AssociateRQ, PresentationContextAC, PresentationContextRQ
from dcmkit.protocol.user_information import (
    AsynchronousOperations,
    Role,
    SOPClassExtended,
    UserIdentity,
    UserInformation,
)

IMPLICIT, EXPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN
BIG_ENDIAN, DEFLATED = uids.EXPLICIT_VR_BIG_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
JPEG, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.2.3.4"

ANYTHING = AcceptorPolicy(dict.fromkeys(uids.STORAGE_SOP_CLASSES), accept_unknown=True)


def request(*contexts: PresentationContextRQ, **information: object) -> AssociateRQ:
    return AssociateRQ("SCP", "SCU", contexts, UserInformation(**information))  # type: ignore[arg-type]


def offered(needs: list[tuple[str, list[str]]]) -> list[tuple[str, tuple[str, ...]]]:
    (contexts,) = propose(needs)
    return [(context.abstract_syntax, context.transfer_syntaxes) for context in contexts]


# --- requestor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([], [(EXPLICIT, IMPLICIT)]),
        ([EXPLICIT], [(EXPLICIT,), (IMPLICIT,)]),
        ([IMPLICIT], [(IMPLICIT,), (EXPLICIT,)]),
        ([IMPLICIT, EXPLICIT], [(IMPLICIT,), (EXPLICIT,)]),
        ([J2K], [(J2K,), (EXPLICIT, IMPLICIT)]),
        ([J2K, JPEG, EXPLICIT], [(J2K,), (JPEG,), (EXPLICIT,), (IMPLICIT,)]),
        ([BIG_ENDIAN], [(BIG_ENDIAN,), (EXPLICIT, IMPLICIT)]),
        ([DEFLATED], [(DEFLATED,), (EXPLICIT, IMPLICIT)]),
    ],
)
def test_each_own_syntax_has_its_own_context(own: list[str], expected: list[tuple[str, ...]]) -> None:
    assert offered([(CT, own)]) == [(CT, syntaxes) for syntaxes in expected]


def test_an_abstract_syntax_may_come_several_times() -> None:
    assert offered([(CT, [J2K]), (MR, [EXPLICIT]), (CT, [JPEG, J2K])]) == [
        (CT, (J2K,)),
        (CT, (JPEG,)),
        (CT, (EXPLICIT, IMPLICIT)),
        (MR, (EXPLICIT,)),
        (MR, (IMPLICIT,)),
    ]


def test_without_fall_back() -> None:
    assert propose([(uids.VERIFICATION, [IMPLICIT])], fallback=()) == [
        [PresentationContextRQ(1, uids.VERIFICATION, (IMPLICIT,))]
    ]
    assert propose([(CT, [])], fallback=()) == []
    assert propose([]) == []


def test_140_sop_classes_need_three_associations() -> None:
    needs = [(f"1.2.3.{i}", [EXPLICIT]) for i in range(140)]
    associations = propose(needs)
    assert [len(contexts) for contexts in associations] == [128, 128, 24]
    for contexts in associations:
        assert [context.context_id for context in contexts] == list(range(1, 2 * len(contexts), 2))


@given(
    st.lists(
        st.tuples(
            st.integers(1, 200).map(lambda i: f"1.2.{i}"),
            st.lists(st.integers(1, 9).map(lambda i: f"1.3.{i}"), unique=True),
        ),
        max_size=200,
    )
)
def test_splitting_loses_nothing(needs: list[tuple[str, list[str]]]) -> None:
    associations = propose(needs)
    homes: dict[str, int] = {}
    alone = set()
    for number, contexts in enumerate(associations):
        assert 0 < len(contexts) <= 128
        assert [context.context_id for context in contexts] == list(range(1, 2 * len(contexts), 2))
        for context in contexts:
            assert homes.setdefault(context.abstract_syntax, number) == number
            if len(context.transfer_syntaxes) == 1:
                alone.add((context.abstract_syntax, context.transfer_syntaxes[0]))
    assert alone == {(abstract, syntax) for abstract, own in needs for syntax in own}
    assert set(homes) == {abstract for abstract, _ in needs}


def test_more_than_128_syntaxes_of_one_class_are_split() -> None:
    associations = propose([(CT, [f"1.2.{i}" for i in range(200)])])
    assert [len(contexts) for contexts in associations] == [128, 73]


PROPOSED = (
    PresentationContextRQ(1, CT, (J2K,)),
    PresentationContextRQ(3, CT, (EXPLICIT, IMPLICIT)),
    PresentationContextRQ(5, MR, (EXPLICIT, IMPLICIT)),
)


def test_looking_up_what_was_accepted() -> None:
    accepted = AcceptedContexts(
        PROPOSED,
        [PresentationContextAC(3, 0, IMPLICIT), PresentationContextAC(5, 3, ""), PresentationContextAC(1, 0, J2K)],
    )
    assert accepted.find(CT, J2K) == 1
    assert accepted.find(CT, IMPLICIT) == 3
    assert accepted.find(CT, EXPLICIT) is None
    assert accepted.find(MR, EXPLICIT) is None
    assert accepted.transfer_syntaxes(CT) == ((1, J2K), (3, IMPLICIT))
    assert accepted.transfer_syntaxes(MR) == ()
    assert accepted.by_id(3) == (CT, IMPLICIT)
    assert len(accepted) == 2
    with pytest.raises(ProtocolError, match="presentation context 5 was not negotiated"):
        accepted.by_id(5)


@pytest.mark.parametrize(
    "answers",
    [
        [PresentationContextAC(3, 0, J2K)],  # a syntax of another context
        [PresentationContextAC(3, 0, "")],
        [PresentationContextAC(7, 0, EXPLICIT)],  # never proposed
        [PresentationContextAC(3, 1, EXPLICIT)],
        [PresentationContextAC(3, 200, EXPLICIT)],
        [PresentationContextAC(3, 0, EXPLICIT), PresentationContextAC(3, 0, IMPLICIT)],
        [PresentationContextAC(3, 0, EXPLICIT), PresentationContextAC(3, 3, EXPLICIT)],
        [],
    ],
)
def test_answers_that_cannot_be_used_are_ignored(answers: list[PresentationContextAC]) -> None:
    accepted = AcceptedContexts(PROPOSED, [PresentationContextAC(5, 0, EXPLICIT), *answers])
    assert accepted.contexts == {5: (MR, EXPLICIT)}


def test_the_same_answer_twice_is_one_answer() -> None:
    assert AcceptedContexts(PROPOSED, [PresentationContextAC(5, 0, EXPLICIT)] * 2).find(MR, EXPLICIT) == 5


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (PresentationContextAC(5, 1, ""), "rejected it"),
        (PresentationContextAC(5, 2, ""), "without saying why"),
        (PresentationContextAC(5, 3, ""), "does not support it"),
        (PresentationContextAC(5, 4, ""), "none of the transfer syntaxes"),
        (PresentationContextAC(5, 99, ""), "unknown result 99"),
        (PresentationContextAC(5, 0, J2K), "a transfer syntax that was not proposed"),
        (PresentationContextAC(9, 0, J2K), "did not answer"),
    ],
)
def test_why_there_is_no_context(answer: PresentationContextAC, text: str) -> None:
    assert text in AcceptedContexts(PROPOSED, [answer]).why_not(MR)


def test_an_answer_cannot_add_roles() -> None:
    proposed = [Role(CT, True, True), Role(MR, False, True), Role(PRIVATE, True, True)]
    answered = [Role(CT, False, True), Role(MR, True, True), Role(FIND, True, True)]
    assert agreed_roles(proposed, answered) == {CT: Role(CT, False, True), MR: Role(MR, False, True)}


# --- acceptor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ((IMPLICIT,), IMPLICIT),
        ((IMPLICIT, EXPLICIT), EXPLICIT),
        ((EXPLICIT, IMPLICIT), EXPLICIT),
        ((BIG_ENDIAN, EXPLICIT), BIG_ENDIAN),
        ((J2K, IMPLICIT, EXPLICIT), J2K),
        ((IMPLICIT, J2K), IMPLICIT),
        (("1.2.3.4.5", IMPLICIT), IMPLICIT),
        (("1.2.3.4.5",), "1.2.3.4.5"),
        (("", "x" * 9, "9" * 300, J2K), J2K),
    ],
)
def test_which_transfer_syntax_is_chosen(proposed: tuple[str, ...], chosen: str) -> None:
    acceptance = accept(request(PresentationContextRQ(1, CT, proposed)), ANYTHING)
    assert acceptance.presentation_contexts == (PresentationContextAC(1, 0, chosen),)
    assert acceptance.contexts.by_id(1) == (CT, chosen)


def test_a_policy_may_prefer_and_restrict() -> None:
    policy = AcceptorPolicy({CT: None, MR: (IMPLICIT, JPEG)}, preferred=(BIG_ENDIAN, JPEG))
    everything = (IMPLICIT, EXPLICIT, J2K, JPEG)
    acceptance = accept(
        request(
            PresentationContextRQ(1, CT, everything),
            PresentationContextRQ(3, CT, (IMPLICIT, EXPLICIT)),
            PresentationContextRQ(5, MR, (IMPLICIT, EXPLICIT)),
            PresentationContextRQ(7, MR, (J2K,)),
            PresentationContextRQ(9, PRIVATE, everything),
        ),
        policy,
    )
    results = {c.context_id: (c.result, c.transfer_syntax) for c in acceptance.presentation_contexts}
    assert results == {
        1: (0, JPEG), 3: (0, EXPLICIT), 5: (0, IMPLICIT),
        7: (negotiation.TRANSFER_SYNTAXES_NOT_SUPPORTED, IMPLICIT),
        9: (negotiation.ABSTRACT_SYNTAX_NOT_SUPPORTED, IMPLICIT),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("abstract_syntax", "result"),
    [(PRIVATE, 0), (CT, 0), (FIND, 3), (uids.VERIFICATION, 3), ("", 3), ("9" * 300, 3), ("../etc", 3), ("1..2", 3)],
)
def test_what_an_open_storage_policy_takes(abstract_syntax: str, result: int) -> None:
    acceptance = accept(request(PresentationContextRQ(1, abstract_syntax, (EXPLICIT,))), ANYTHING)
    assert [context.result for context in acceptance.presentation_contexts] == [result]


@pytest.mark.parametrize(
    "contexts",
    [
        (PresentationContextRQ(0, CT, (EXPLICIT,)),),
        (PresentationContextRQ(2, CT, (EXPLICIT,)),),
        (PresentationContextRQ(1, CT, (EXPLICIT,)), PresentationContextRQ(1, MR, (EXPLICIT,))),
        (PresentationContextRQ(1, CT, (EXPLICIT,)),) * 3,
        (PresentationContextRQ(1, CT, ()),),
        (PresentationContextRQ(1, CT, ("",)),),
        (PresentationContextRQ(1, "", (EXPLICIT,)),),
        (),
    ],
)
def test_hostile_contexts_are_never_accepted(contexts: tuple[PresentationContextRQ, ...]) -> None:
    acceptance = accept(request(*contexts), ANYTHING)
    assert len(acceptance.contexts) == 0
    ids = [answer.context_id for answer in acceptance.presentation_contexts]
    assert sorted(ids) == sorted({context.context_id for context in contexts})
    assert all(answer.result != 0 for answer in acceptance.presentation_contexts)


def test_a_sound_context_beside_hostile_ones_is_accepted() -> None:
    contexts = [PresentationContextRQ(i % 256, CT, (EXPLICIT,)) for i in range(300)]
    acceptance = accept(request(*contexts), ANYTHING)
    assert len(acceptance.presentation_contexts) == 256
    repeated = set(range(300 - 256))
    assert set(acceptance.contexts.contexts) == set(range(1, 256, 2)) - repeated


def test_the_answer_to_a_hostile_request_is_bounded_and_quick() -> None:
    contexts = [PresentationContextRQ(i % 256, CT, (EXPLICIT,) * 3) for i in range(50_000)]
    roles = tuple(Role(CT, True, True) for _ in range(50_000))
    began = time.process_time()
    acceptance = accept(request(*contexts, PresentationContextRQ(1, CT, ("1.2",) * 50_000), roles=roles), ANYTHING)
    assert time.process_time() - began < 5  # quadratic work would take minutes
    assert len(acceptance.presentation_contexts) == 256
    assert len(acceptance.user_information(0, "", "").encode()) < 100


def test_roles_are_answered_for_accepted_contexts_only() -> None:
    policy = AcceptorPolicy(dict.fromkeys((CT, MR)), scp_roles={CT})
    roles = (Role(CT, True, True), Role(CT, False, False), Role(MR, True, True), Role(PRIVATE, True, True))
    contexts = tuple(PresentationContextRQ(i, uid, (EXPLICIT,)) for i, uid in ((1, CT), (3, MR), (5, PRIVATE)))
    acceptance = accept(request(*contexts, roles=roles), policy)
    assert acceptance.contexts.roles == {CT: Role(CT, True, True), MR: Role(MR, True, False)}
    assert acceptance.user_information(0, "", "").roles == (Role(CT, True, True), Role(MR, True, False))


def test_a_role_item_that_leaves_nothing_gets_the_default_roles() -> None:
    rq = request(PresentationContextRQ(1, CT, (EXPLICIT,)), roles=(Role(CT, False, True),))
    acceptance = accept(rq, ANYTHING)
    assert acceptance.contexts.roles == {}
    assert acceptance.contexts.find(CT, EXPLICIT) == 1


@pytest.mark.parametrize(
    ("theirs", "own", "agreed"),
    [
        (None, (1, 1), None),
        ((0, 0), (1, 1), (1, 1)),
        ((5, 1), (1, 1), (1, 1)),
        ((5, 2), (3, 3), (3, 2)),
        ((0, 7), (0, 0), (0, 7)),
    ],
)
def test_the_narrower_asynchronous_operations_window_wins(
    theirs: tuple[int, int] | None, own: tuple[int, int], agreed: tuple[int, int] | None
) -> None:
    policy = AcceptorPolicy({}, asynchronous_operations=own)
    window = AsynchronousOperations(*theirs) if theirs else None
    acceptance = accept(request(asynchronous_operations=window), policy)
    assert acceptance.asynchronous_operations == (AsynchronousOperations(*agreed) if agreed else None)


def test_extended_negotiation_is_answered_where_the_policy_can() -> None:
    policy = AcceptorPolicy({FIND: None, CT: None}, extended=lambda item: b"\1" if item.information else None)
    items = (
        SOPClassExtended(FIND, b"\1\1\1"), SOPClassExtended(FIND, b"\1"), SOPClassExtended(CT, b""),
        SOPClassExtended(MR, b"\1"),
    )  # fmt: skip
    contexts = [PresentationContextRQ(1, FIND, (EXPLICIT,)), PresentationContextRQ(3, CT, (EXPLICIT,))]
    assert accept(request(*contexts, extended=items), policy).extended == (SOPClassExtended(FIND, b"\1"),)
    assert accept(request(*contexts, extended=items), ANYTHING).extended == ()


@pytest.mark.parametrize("asked", [True, False])
def test_a_user_identity_is_judged(asked: bool) -> None:
    policy = AcceptorPolicy({}, identify=lambda identity: b"ticket" if identity.secondary == b"right" else None)
    good = accept(request(user_identity=UserIdentity(2, asked, b"me", b"right")), policy)
    assert good.rejection is None
    assert good.user_identity_response == (b"ticket" if asked else None)
    bad = accept(request(user_identity=UserIdentity(2, asked, b"me", b"wrong")), policy)
    assert bad.rejection == AssociateRJ(1, 1, 1)
    ignored = accept(request(user_identity=UserIdentity(2, asked, b"me", b"wrong")), ANYTHING)
    assert ignored.rejection is ignored.user_identity_response is None


def test_the_user_information_of_the_answer() -> None:
    acceptance = accept(request(asynchronous_operations=AsynchronousOperations(2, 2)), ANYTHING)
    assert acceptance.user_information(16384, "1.2.3", "NAME") == UserInformation(
        16384, "1.2.3", "NAME", AsynchronousOperations(1, 1)
    )


CONTEXTS = st.builds(
    PresentationContextRQ,
    st.integers(0, 255),
    st.sampled_from((CT, MR, PRIVATE, FIND, "")),
    st.lists(st.sampled_from((IMPLICIT, EXPLICIT, J2K, PRIVATE, "", "x")), max_size=4).map(tuple),
)


@given(st.lists(CONTEXTS, max_size=20), st.booleans())
def test_both_sides_agree_on_what_was_agreed(contexts: list[PresentationContextRQ], unknown: bool) -> None:
    policy = AcceptorPolicy({CT: None, MR: (IMPLICIT,)}, accept_unknown=unknown)
    rq = request(*contexts)
    acceptance = accept(rq, policy)
    ac = pdu.AssociateAC("", "", acceptance.presentation_contexts, acceptance.user_information(0, "", ""))
    received = pdu.decode(2, ac.encode()[6:])
    assert isinstance(received, pdu.AssociateAC)
    requestor = AcceptedContexts(rq.presentation_contexts, received.presentation_contexts)
    assert requestor.contexts == acceptance.contexts.contexts
    for context_id, (abstract_syntax, transfer_syntax) in requestor.contexts.items():
        assert context_id % 2 == 1
        assert (context_id, abstract_syntax) in [context[:2] for context in contexts]
        assert policy.supports(abstract_syntax)
        assert uids.is_uid(transfer_syntax)
        found = requestor.find(abstract_syntax, transfer_syntax)
        assert found is not None
        assert requestor.by_id(found) == (abstract_syntax, transfer_syntax)

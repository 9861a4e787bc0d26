"""Which presentation contexts to propose, accept and use (PS3.7 D.3, PS3.8 9.3.2.2, 9.3.3.2).

The requestor's rule: an acceptor picks one transfer syntax per context, so every syntax that objects are stored in
gets a context of its own, and one more context offers the remaining uncompressed syntaxes as fall-back. Whatever the
acceptor prefers, an object whose own syntax it knows can then be sent unchanged.

The acceptor's rule: a context is accepted with the first proposed transfer syntax that is acceptable, except that
explicit VR little endian wins over implicit; a policy may name other preferences. A context with an even, zero or
repeated id, without a usable abstract syntax or without a usable transfer syntax is never accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit import uids
from dcmkit.errors import ProtocolError
from dcmkit.protocol.items import Record
from dcmkit.protocol.pdu import AssociateRJ, PresentationContextAC, PresentationContextRQ
from dcmkit.protocol.user_information import AsynchronousOperations, Role, SOPClassExtended, UserInformation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

    from dcmkit.protocol.pdu import AssociateRQ
    from dcmkit.protocol.user_information import UserIdentity

MAXIMUM_CONTEXTS = 128
"""Presentation context ids are the odd numbers from 1 to 255 (PS3.8 9.3.2.2)."""

ACCEPTANCE, USER_REJECTION, NO_REASON, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = range(5)
"""Results of a presentation context (PS3.8 9.3.3.2)."""

FALLBACK = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
"""What a requestor offers beside the objects' own transfer syntaxes."""

_RESULT_TEXTS = {
    ACCEPTANCE: "the peer accepted it with a transfer syntax that was not proposed",
    USER_REJECTION: "the peer's application rejected it",
    NO_REASON: "the peer rejected it without saying why",
    ABSTRACT_SYNTAX_NOT_SUPPORTED: "the peer does not support it",
    TRANSFER_SYNTAXES_NOT_SUPPORTED: "the peer supports none of the transfer syntaxes proposed for it",
}


# --- requestor ---------------------------------------------------------------------------------------------------


def propose(
    needs: Iterable[tuple[str, Sequence[str]]], *, fallback: Sequence[str] = FALLBACK
) -> list[list[PresentationContextRQ]]:
    """The presentation contexts that let everything in `needs` be sent, one list per association.

    The contexts of one abstract syntax stay in one association (unless they alone are more than 128).

    Args:
        needs: abstract syntax and the transfer syntaxes its objects are stored in, the most important first; an
            abstract syntax may come several times.
        fallback: what to offer besides, in one further context; empty where no conversion is wanted.
    """
    associations: list[list[tuple[str, tuple[str, ...]]]] = []
    for abstract_syntax, own in _merge(needs).items():
        contexts = _contexts_of(abstract_syntax, own, fallback)
        for start in range(0, len(contexts), MAXIMUM_CONTEXTS):
            chunk = contexts[start : start + MAXIMUM_CONTEXTS]
            if not associations or len(associations[-1]) + len(chunk) > MAXIMUM_CONTEXTS:
                associations.append([])
            associations[-1].extend(chunk)
    return [
        [PresentationContextRQ(2 * i + 1, *context) for i, context in enumerate(contexts)] for contexts in associations
    ]


def _merge(needs: Iterable[tuple[str, Sequence[str]]]) -> dict[str, dict[str, None]]:
    merged: dict[str, dict[str, None]] = {}
    for abstract_syntax, transfer_syntaxes in needs:
        merged.setdefault(abstract_syntax, {}).update(dict.fromkeys(transfer_syntaxes))
    return merged


def _contexts_of(
    abstract_syntax: str, own: Collection[str], fallback: Sequence[str]
) -> list[tuple[str, tuple[str, ...]]]:
    contexts: list[tuple[str, tuple[str, ...]]] = [(abstract_syntax, (syntax,)) for syntax in own]
    remaining = tuple(syntax for syntax in dict.fromkeys(fallback) if syntax not in own)
    return [*contexts, (abstract_syntax, remaining)] if remaining else contexts


class AcceptedContexts:
    """The presentation contexts both sides agreed on; look-ups take constant time.

    An answer to a context that was not proposed, with a transfer syntax that was not proposed for it, or that
    contradicts another answer for the same context is ignored: the context cannot be used, the association can.
    (PS3.8 9.3.3.2 has no word for such an answer; an abort would lose the contexts that are sound.)

    Attributes:
        contexts: context id to (abstract syntax, transfer syntax).
        roles: abstract syntax to the roles agreed on, where both sides spoke about them (PS3.7 D.3.3.4).
    """

    __slots__ = ("_by_abstract_syntax", "_results", "contexts", "roles")

    def __init__(
        self,
        proposed: Iterable[PresentationContextRQ],
        answered: Iterable[PresentationContextAC],
        roles: Mapping[str, Role] | None = None,
    ) -> None:
        self.contexts: dict[int, tuple[str, str]] = {}
        self.roles: dict[str, Role] = dict(roles or {})
        self._by_abstract_syntax: dict[str, dict[str, int]] = {}
        self._results: dict[str, int] = {}
        answers = _unambiguous(answered)
        for context in proposed:
            answer = answers.get(context.context_id)
            if answer is not None:
                self._take(context, answer)

    def _take(self, context: PresentationContextRQ, answer: PresentationContextAC) -> None:
        abstract_syntax = context.abstract_syntax
        if answer.result == ACCEPTANCE and answer.transfer_syntax in context.transfer_syntaxes:
            self.contexts[context.context_id] = (abstract_syntax, answer.transfer_syntax)
            agreed = self._by_abstract_syntax.setdefault(abstract_syntax, {})
            agreed.setdefault(answer.transfer_syntax, context.context_id)
        else:
            self._results[abstract_syntax] = answer.result

    def __len__(self) -> int:
        return len(self.contexts)

    def find(self, abstract_syntax: str, transfer_syntax: str) -> int | None:
        """The context that carries this abstract syntax in this transfer syntax."""
        return self._by_abstract_syntax.get(abstract_syntax, {}).get(transfer_syntax)

    def transfer_syntaxes(self, abstract_syntax: str) -> tuple[tuple[int, str], ...]:
        """Context id and transfer syntax of each way to carry this abstract syntax, in the order proposed."""
        agreed = self._by_abstract_syntax.get(abstract_syntax, {})
        return tuple((context_id, syntax) for syntax, context_id in agreed.items())

    def by_id(self, context_id: int) -> tuple[str, str]:
        """Abstract syntax and transfer syntax of a context.

        Raises:
            ProtocolError: no accepted context has this id (PS3.8 Annex E: an abort is the answer).
        """
        try:
            return self.contexts[context_id]
        except KeyError:
            raise ProtocolError(f"presentation context {context_id} was not negotiated") from None

    def why_not(self, abstract_syntax: str) -> str:
        """Why no context carries `abstract_syntax`, as the end of a sentence about it."""
        result = self._results.get(abstract_syntax)
        if result is None:
            return "it was not proposed, or the peer did not answer"
        return _RESULT_TEXTS.get(result) or f"the peer answered with the unknown result {result}"


def _unambiguous(answered: Iterable[PresentationContextAC]) -> dict[int, PresentationContextAC]:
    """Answers by context id, without those that contradict each other."""
    answers: dict[int, PresentationContextAC] = {}
    contradicted: set[int] = set()
    for answer in answered:
        if answers.setdefault(answer.context_id, answer) != answer:
            contradicted.add(answer.context_id)
    for context_id in contradicted:
        del answers[context_id]
    return answers


def agreed_roles(proposed: Iterable[Role], answered: Iterable[Role]) -> dict[str, Role]:
    """The roles in force: an answer can take back what was proposed, never add to it (PS3.7 D.3.3.4).

    A SOP class without an entry has the default roles, the requestor as SCU and the acceptor as SCP.
    """
    answers = {role.sop_class_uid: role for role in answered}
    agreed: dict[str, Role] = {}
    for role in proposed:
        answer = answers.get(role.sop_class_uid)
        if answer is not None:
            agreed[role.sop_class_uid] = Role(role.sop_class_uid, role.scu and answer.scu, role.scp and answer.scp)
    return agreed


# --- acceptor ----------------------------------------------------------------------------------------------------


class AcceptorPolicy:
    """What an acceptor accepts.

    Args:
        abstract_syntaxes: abstract syntax to the transfer syntaxes acceptable for it, None for any.
        accept_unknown: accept abstract syntaxes that PS3.6 does not know (private ones, and those newer than this
            program), with any transfer syntax; they are taken to be storage SOP classes.
        preferred: transfer syntaxes to choose if proposed, the best first; see the module for what comes after them.
        scp_roles: abstract syntaxes for which the requestor may be SCP (C-GET, and N-EVENT-REPORT the other way).
        asynchronous_operations: the widest window to agree on.
        extended: answers SOP class extended negotiation, or gives None for no answer (PS3.7 D.3.3.5).
        identify: judges a user identity. Gives the server response (b"" where there is none to give), or None to
            refuse the association. Without it identities are ignored, and no positive response is sent.
    """

    __slots__ = (
        "abstract_syntaxes", "accept_unknown", "asynchronous_operations", "extended", "identify", "preferred",
        "scp_roles",
    )  # fmt: skip

    def __init__(
        self,
        abstract_syntaxes: Mapping[str, Collection[str] | None],
        *,
        accept_unknown: bool = False,
        preferred: Sequence[str] = (),
        scp_roles: Container[str] = frozenset(),
        asynchronous_operations: tuple[int, int] = (1, 1),
        extended: Callable[[SOPClassExtended], bytes | None] | None = None,
        identify: Callable[[UserIdentity], bytes | None] | None = None,
    ) -> None:
        self.abstract_syntaxes = abstract_syntaxes
        self.accept_unknown = accept_unknown
        self.preferred = tuple(preferred)
        self.scp_roles = scp_roles
        self.asynchronous_operations = asynchronous_operations
        self.extended = extended
        self.identify = identify

    def supports(self, abstract_syntax: str) -> bool:
        """Whether a context for `abstract_syntax` may be accepted."""
        if abstract_syntax in self.abstract_syntaxes:
            return True
        return self.accept_unknown and uids.is_uid(abstract_syntax) and abstract_syntax not in uids.SOP_CLASSES

    def choose(self, abstract_syntax: str, proposed: Sequence[str]) -> str:
        """The transfer syntax to accept for a supported abstract syntax, or "" for none."""
        allowed = self.abstract_syntaxes.get(abstract_syntax)
        usable = [uid for uid in proposed if uids.is_uid(uid) and (allowed is None or uid in allowed)]
        for uid in self.preferred:
            if uid in usable:
                return uid
        # A syntax PS3.6 knows comes before one that only the peer does.
        known = [uid for uid in usable if uid in uids.TRANSFER_SYNTAXES] or usable
        if not known:
            return ""
        if known[0] == uids.IMPLICIT_VR_LITTLE_ENDIAN and uids.EXPLICIT_VR_LITTLE_ENDIAN in known:
            return uids.EXPLICIT_VR_LITTLE_ENDIAN
        return known[0]


class Acceptance(Record):
    """What an acceptor answers.

    Attributes:
        presentation_contexts: one answer per context id proposed, in the order proposed; may be all rejections.
        contexts: what was accepted.
        rejection: set where the association must be refused instead (the user identity was not accepted).
    """

    __slots__ = (
        "asynchronous_operations", "contexts", "extended", "presentation_contexts", "rejection",
        "user_identity_response",
    )  # fmt: skip

    def __init__(self, presentation_contexts: tuple[PresentationContextAC, ...], contexts: AcceptedContexts) -> None:
        self.presentation_contexts = presentation_contexts
        self.contexts = contexts
        self.asynchronous_operations: AsynchronousOperations | None = None
        self.extended: tuple[SOPClassExtended, ...] = ()
        self.user_identity_response: bytes | None = None
        self.rejection: AssociateRJ | None = None

    def user_information(
        self, maximum_length: int, implementation_class_uid: str, implementation_version_name: str
    ) -> UserInformation:
        """The user information of the A-ASSOCIATE-AC."""
        return UserInformation(
            maximum_length,
            implementation_class_uid,
            implementation_version_name,
            self.asynchronous_operations,
            tuple(self.contexts.roles.values()),
            self.extended,
            user_identity_response=self.user_identity_response,
        )


def accept(rq: AssociateRQ, policy: AcceptorPolicy) -> Acceptance:
    """Answer a request that `refuse` let through; time is linear in the size of the request."""
    answers = _answer_contexts(rq.presentation_contexts, policy)
    info = rq.user_information
    contexts = AcceptedContexts(rq.presentation_contexts, answers)
    accepted = {abstract_syntax for abstract_syntax, _ in contexts.contexts.values()}
    contexts.roles.update(_answer_roles(info.roles, accepted, policy))
    acceptance = Acceptance(answers, contexts)
    acceptance.extended = _answer_extended(info.extended, accepted, policy)
    if info.asynchronous_operations is not None:
        theirs, (invoked, performed) = info.asynchronous_operations, policy.asynchronous_operations
        acceptance.asynchronous_operations = AsynchronousOperations(
            _narrower(theirs.invoked, invoked), _narrower(theirs.performed, performed)
        )
    if info.user_identity is not None and policy.identify is not None:
        response = policy.identify(info.user_identity)
        if response is None:
            acceptance.rejection = AssociateRJ(1, 1, 1)
        elif info.user_identity.positive_response_requested:
            acceptance.user_identity_response = response
    return acceptance


def _answer_contexts(
    proposed: Sequence[PresentationContextRQ], policy: AcceptorPolicy
) -> tuple[PresentationContextAC, ...]:
    answers: dict[int, PresentationContextAC] = {}
    for context in proposed:
        context_id = context.context_id
        if context_id in answers or context_id % 2 == 0:
            answers[context_id] = _rejected(context, NO_REASON)
        else:
            answers[context_id] = _answer_context(context, policy)
    return tuple(answers.values())


def _answer_context(context: PresentationContextRQ, policy: AcceptorPolicy) -> PresentationContextAC:
    if not policy.supports(context.abstract_syntax):
        return _rejected(context, ABSTRACT_SYNTAX_NOT_SUPPORTED)
    chosen = policy.choose(context.abstract_syntax, context.transfer_syntaxes)
    if not chosen:
        return _rejected(context, TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return PresentationContextAC(context.context_id, ACCEPTANCE, chosen)


def _rejected(context: PresentationContextRQ, result: int) -> PresentationContextAC:
    """The transfer syntax of a rejection means nothing (PS3.8 9.3.3.2), but some devices want to see one."""
    return PresentationContextAC(context.context_id, result, uids.IMPLICIT_VR_LITTLE_ENDIAN)


def _answer_roles(roles: Iterable[Role], accepted: Collection[str], policy: AcceptorPolicy) -> dict[str, Role]:
    """No answer where neither role is left: the default roles are then in force, which is what such devices expect."""
    answers: dict[str, Role] = {}
    for role in roles:
        uid = role.sop_class_uid
        if uid in accepted and uid not in answers:
            scp = role.scp and uid in policy.scp_roles
            if role.scu or scp:
                answers[uid] = Role(uid, role.scu, scp)
    return answers


def _answer_extended(
    extended: Iterable[SOPClassExtended], accepted: Collection[str], policy: AcceptorPolicy
) -> tuple[SOPClassExtended, ...]:
    if policy.extended is None:
        return ()
    answers: dict[str, SOPClassExtended] = {}
    for item in extended:
        if item.sop_class_uid in accepted and item.sop_class_uid not in answers:
            information = policy.extended(item)
            if information is not None:
                answers[item.sop_class_uid] = SOPClassExtended(item.sop_class_uid, information)
    return tuple(answers.values())


def _narrower(theirs: int, own: int) -> int:
    """0 means no limit (PS3.7 D.3.3.3)."""
    return min(theirs, own) if theirs and own else theirs or own

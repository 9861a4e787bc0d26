"""From what somebody wants to the requests that fetch it: a C-FIND first where the retrieve model needs it.

A C-MOVE or C-GET names unique keys only (PS3.4 C.4.2.2.1): an accession number, or a patient in the study root model,
has to be looked up. A C-GET has to propose the SOP classes that will come, so these are asked for as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, element, text
from dcmkit.errors import (
    DcmkitError,
    ExitCode,
    NoPresentationContextError,
    StatusError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.services.find_scu import find
from dcmkit.services.models import IMAGE, PATIENT, QUERY_RETRIEVE_LEVEL, SERIES, STUDY, UNIQUE_KEYS, Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dcmkit.net.association import Association

log = get_logger("retrieve")

SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET = 0x00080005, 0x00080201
SOP_CLASS_UID, SOP_CLASSES_IN_STUDY = 0x00080016, 0x00080062
NUMBER_OF_RELATED_INSTANCES = {PATIENT: 0x00201204, STUDY: 0x00201208, SERIES: 0x00201209}
INSTANCES_AT_A_TIME = 500
"""SOP Instance UIDs in one identifier: an element of explicit VR holds 64 kB."""
SERIES_TO_ASK = 50
"""Series of a study that are asked for a sample of their SOP classes."""

_LEVELS = (PATIENT, STUDY, SERIES, IMAGE)


class NothingMatchedError(DcmkitError):
    """The peer has nothing of what was named."""

    exit_code = ExitCode.NOTHING_DONE
    dimse_status = 0x0112
    http_status = 404


class Want(NamedTuple):
    """Something somebody wants.

    Attributes:
        label: what they called it: `study 1.2.3`, `line 7 of list.csv`.
        keys: unique and other matching keys, with the level where it was said.
        named: that nothing matches is an error.
        as_given: a request that can be made of the keys as they are is made so, without completing it.
    """

    label: str
    keys: DataSet
    named: bool = True
    as_given: bool = False


class Request(NamedTuple):
    """One C-MOVE or C-GET to make.

    Attributes:
        label: the want it is for.
        identifier: unique keys and level.
        sop_classes: what will come, as far as the peer told; () where it did not.
        all_classes: whether `sop_classes` is all of them.
        expected: how many instances there are, 0 where the peer did not tell.
        named: that nothing comes is an error.
    """

    label: str
    identifier: DataSet
    sop_classes: tuple[str, ...] = ()
    all_classes: bool = False
    expected: int = 0
    named: bool = True

    @property
    def level(self) -> str:
        """PATIENT, STUDY, SERIES or IMAGE."""
        return text(self.identifier, QUERY_RETRIEVE_LEVEL)

    @property
    def key(self) -> str:
        """The same for the same identifier, and another for every other."""
        parts = [f"{tag:08X}={found.value!s}" for tag, found in sorted(self.identifier.items())]
        return " ".join(part for part in parts if not part.startswith("00080005"))

    @property
    def name(self) -> str:
        """What it is, without a patient's data."""
        uids = self.uids()
        if self.level == PATIENT:
            return "a patient"
        return f"{self.level.lower()} {uids[0]}" if len(uids) == 1 else f"{len(uids)} of level {self.level}"

    def uids(self) -> tuple[str, ...]:
        """The values of its level's unique key."""
        return tuple(text(self.identifier, UNIQUE_KEYS[self.level]).split("\\"))


def level_of(keys: DataSet, model: Model) -> str:
    """The level of a want: as said, or that of the lowest unique key with a value.

    Raises:
        UsageError: there is none, or none the model has.
    """
    level = text(keys, QUERY_RETRIEVE_LEVEL).strip().upper()
    if not level:
        given = [name for name in _LEVELS if text(keys, UNIQUE_KEYS[name])]
        level = given[-1] if given else STUDY
        if level == PATIENT and PATIENT not in model.levels:
            level = STUDY
    if level not in model.levels:
        names = ", ".join(model.levels)
        raise UsageError(f"the {model.name} model has no level {level!r}", hint=f"it has {names}")
    return level


class Planner:
    """Makes requests of wants, asking the peer where that is needed.

    Args:
        model: the information model to retrieve with.
        associate: gives an association that has a context for the model's C-FIND, if the peer takes it.
        sop_classes: ask for the SOP classes that will come.
        charset: Specific Character Set of C-FIND requests.
    """

    def __init__(
        self,
        model: Model,
        associate: Callable[[], Association],
        *,
        sop_classes: bool = False,
        charset: str = "ISO_IR 192",
    ) -> None:
        self._charset = charset
        self._model = model
        self._associate = associate
        self._sop_classes = sop_classes

    def requests(self, want: Want) -> list[Request]:
        """What to ask for; never empty.

        Raises:
            NothingMatchedError: the peer has nothing of it.
            UsageError: there is no key to go by.
            StatusError, NoPresentationContextError: it has to be looked up, and the peer does not do that.
            NetworkError: the association is over.
        """
        level = level_of(want.keys, self._model)
        direct = self._direct(want, level)
        if direct is not None and (want.as_given or self._complete(direct, level)):
            return [self._with_classes(direct)]
        try:
            found = list(self._look_up(want, level))
        except (StatusError, NoPresentationContextError) as error:
            if direct is None:
                raise
            log.info("%s: asked for without looking it up: %s", direct.name, error)
            return [direct]
        if found:
            return [self._with_classes(request) for request in found]
        raise NothingMatchedError(f"{want.label}: the peer has nothing that matches")

    def _direct(self, want: Want, level: str) -> Request | None:
        """The request that can be made of the keys alone, or None where there must be a C-FIND first."""
        unique = {UNIQUE_KEYS[name] for name in (*self._model.above(level), level)}
        ignored = {QUERY_RETRIEVE_LEVEL, SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET}
        if not text(want.keys, UNIQUE_KEYS[level]):
            return None
        if any(found.value for tag, found in want.keys.items() if tag not in unique | ignored):
            return None
        identifier = {tag: found for tag, found in want.keys.items() if tag in unique | ignored and found.value}
        identifier[QUERY_RETRIEVE_LEVEL] = element(QUERY_RETRIEVE_LEVEL, level)
        return Request(want.label, identifier, named=want.named)

    def _complete(self, request: Request, level: str) -> bool:
        """Whether the unique keys of the levels above are all there."""
        return all(text(request.identifier, UNIQUE_KEYS[name]) for name in self._model.above(level))

    def _look_up(self, want: Want, level: str) -> Iterator[Request]:
        if not any(found.value for tag, found in want.keys.items() if tag != QUERY_RETRIEVE_LEVEL):
            raise UsageError(f"{want.label}: no key has a value", hint="name what to retrieve, such as --study UID")
        query = {tag: found for tag, found in want.keys.items() if found.value}
        query[QUERY_RETRIEVE_LEVEL] = element(QUERY_RETRIEVE_LEVEL, level)
        upper = self._model.above(level)
        for name in (*upper, level):
            query.setdefault(UNIQUE_KEYS[name], element(UNIQUE_KEYS[name]))
        if level == STUDY and self._sop_classes:
            query.setdefault(SOP_CLASSES_IN_STUDY, element(SOP_CLASSES_IN_STUDY))
        if level == IMAGE:
            query.setdefault(SOP_CLASS_UID, element(SOP_CLASS_UID))
        elif level in NUMBER_OF_RELATED_INSTANCES:
            query.setdefault(NUMBER_OF_RELATED_INSTANCES[level], element(NUMBER_OF_RELATED_INSTANCES[level]))
        answers = self._find(query)
        if level == IMAGE:
            yield from _by_series(want, answers, upper, want.keys)
            return
        for answer in answers:
            identifier = _unique_keys(answer, (*upper, level), level, want.keys)
            if text(identifier, UNIQUE_KEYS[level]):
                classes = _values(answer, SOP_CLASSES_IN_STUDY) if level == STUDY else ()
                number = _number(answer, NUMBER_OF_RELATED_INSTANCES[level])
                yield Request(want.label, identifier, classes, bool(classes), number, want.named)

    def _find(self, query: DataSet, limit: int = 0) -> list[DataSet]:
        return find_all(self._associate(), self._model, query, limit, self._charset)

    # --- SOP classes ---

    def _with_classes(self, request: Request) -> Request:
        """The request with the SOP classes that will come, as far as the peer tells."""
        if not self._sop_classes or request.sop_classes:
            return request
        try:
            return self._ask_classes(request)
        except (StatusError, NoPresentationContextError) as error:
            log.info("the peer does not tell which SOP classes it has: %s", error)
            return request

    def _ask_classes(self, request: Request) -> Request:
        if request.level in (PATIENT, STUDY):
            query = {**request.identifier, QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, STUDY)}
            for tag in (UNIQUE_KEYS[STUDY], SOP_CLASSES_IN_STUDY, NUMBER_OF_RELATED_INSTANCES[STUDY]):
                query.setdefault(tag, element(tag))
            studies = self._find(query)
            expected = sum(_number(study, NUMBER_OF_RELATED_INSTANCES[STUDY]) for study in studies)
            request = request._replace(expected=expected)
            told = [_values(study, SOP_CLASSES_IN_STUDY) for study in studies]
            if told and all(told):
                classes = tuple(dict.fromkeys(uid for classes in told for uid in classes))
                return request._replace(sop_classes=classes, all_classes=True)
        if IMAGE not in self._model.levels:
            return request
        classes = tuple(dict.fromkeys(self._sample(request.identifier, request.level)))
        return request._replace(sop_classes=classes, all_classes=bool(classes) and request.level == IMAGE)

    def _sample(self, identifier: DataSet, level: str) -> Iterator[str]:
        """The SOP class of one instance of each series."""
        if level in (PATIENT, STUDY):
            below = STUDY if level == PATIENT else SERIES
            for found in self._children(identifier, below)[:SERIES_TO_ASK]:
                yield from self._sample(found, below)
            return
        query = {**identifier, QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, IMAGE)}
        for tag in (UNIQUE_KEYS[IMAGE], SOP_CLASS_UID):
            query.setdefault(tag, element(tag))
        for answer in self._find(query, 0 if level == IMAGE else 1):
            yield from _values(answer, SOP_CLASS_UID)

    def _children(self, identifier: DataSet, level: str) -> list[DataSet]:
        return children(self._associate(), self._model, identifier, level)


# --- what is in it -----------------------------------------------------------------------------------------------


def find_all(
    association: Association, model: Model, query: DataSet, limit: int = 0, charset: str = "ISO_IR 192"
) -> list[DataSet]:
    """All answers to a C-FIND. Raises: StatusError, NoPresentationContextError, NetworkError."""
    if not model.find:
        raise NoPresentationContextError(f"the {model.name} model has no C-FIND")
    finding = find(association, model.find, query, charset=charset, limit=limit)
    answers = list(finding)
    finding.require_success()
    return answers


def children(association: Association, model: Model, identifier: DataSet, level: str) -> list[DataSet]:
    """The identifiers of what is one level below: `level`."""
    upper = model.above(level)
    query = {**identifier, QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, level)}
    query.setdefault(UNIQUE_KEYS[level], element(UNIQUE_KEYS[level]))
    found = []
    for answer in find_all(association, model, query):
        below = _unique_keys(answer, (*upper, level), level, identifier)
        if text(below, UNIQUE_KEYS[level]):
            found.append(below)
    return found


def missing(association: Association, model: Model, request: Request, have: Iterable[str]) -> list[Request] | None:
    """The requests that fetch what of a request is not in `have`; None where the peer does not tell what there is.

    Raises:
        NetworkError: the association is over.
    """
    if IMAGE not in model.levels:
        return None
    have = set(have)
    try:
        instances = list(_instances(association, model, request.identifier, request.level))
    except (StatusError, NoPresentationContextError) as error:
        log.info("%s: the peer does not tell what is in it, all of it is asked for again: %s", request.name, error)
        return None
    if not instances:
        return None
    wanted: dict[str, tuple[DataSet, list[str]]] = {}
    for identifier in instances:
        uid = text(identifier, UNIQUE_KEYS[IMAGE])
        if uid not in have:
            above = text(identifier, UNIQUE_KEYS[SERIES])
            wanted.setdefault(above, (identifier, []))[1].append(uid)
    return [
        request._replace(identifier=part, expected=len(text(part, UNIQUE_KEYS[IMAGE]).split("\\")))
        for identifier, uids in wanted.values()
        for part in _in_chunks(identifier, uids)
    ]


def all_sop_classes(association: Association, model: Model, request: Request) -> tuple[str, ...]:
    """The SOP classes of every instance of a request; () where the peer does not tell them all.

    Raises:
        NetworkError: the association is over.
    """
    if IMAGE not in model.levels:
        return ()
    try:
        told = [
            _values(answer, SOP_CLASS_UID) for answer in _images(association, model, request.identifier, request.level)
        ]
    except (StatusError, NoPresentationContextError):
        return ()
    return tuple(dict.fromkeys(uid for classes in told for uid in classes)) if all(told) else ()


def _images(association: Association, model: Model, identifier: DataSet, level: str) -> Iterator[DataSet]:
    if level in (SERIES, IMAGE):
        query = {**identifier, QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, IMAGE)}
        for tag in (UNIQUE_KEYS[IMAGE], SOP_CLASS_UID):
            query.setdefault(tag, element(tag))
        yield from find_all(association, model, query)
        return
    below = _LEVELS[_LEVELS.index(level) + 1]
    for found in children(association, model, identifier, below):
        yield from _images(association, model, found, below)


def _instances(association: Association, model: Model, identifier: DataSet, level: str) -> Iterator[DataSet]:
    if level == IMAGE:
        for uid in text(identifier, UNIQUE_KEYS[IMAGE]).split("\\"):
            yield {**identifier, UNIQUE_KEYS[IMAGE]: element(UNIQUE_KEYS[IMAGE], uid)}
        return
    below = _LEVELS[_LEVELS.index(level) + 1]
    for found in children(association, model, identifier, below):
        yield from _instances(association, model, found, below)


def _in_chunks(identifier: DataSet, uids: list[str]) -> Iterator[DataSet]:
    for start in range(0, len(uids), INSTANCES_AT_A_TIME):
        listed = "\\".join(uids[start : start + INSTANCES_AT_A_TIME])
        yield {**identifier, UNIQUE_KEYS[IMAGE]: element(UNIQUE_KEYS[IMAGE], listed)}


def _by_series(want: Want, answers: list[DataSet], upper: tuple[str, ...], given: DataSet) -> Iterator[Request]:
    series: dict[str, tuple[DataSet, list[str], dict[str, None]]] = {}
    for answer in answers:
        identifier = _unique_keys(answer, (*upper, IMAGE), IMAGE, given)
        uid = text(answer, UNIQUE_KEYS[IMAGE])
        if uid:
            _, uids, classes = series.setdefault(text(identifier, UNIQUE_KEYS[SERIES]), (identifier, [], {}))
            uids.append(uid)
            classes.update(dict.fromkeys(_values(answer, SOP_CLASS_UID)))
    for identifier, uids, classes in series.values():
        for part in _in_chunks(identifier, uids):
            number = len(text(part, UNIQUE_KEYS[IMAGE]).split("\\"))
            yield Request(want.label, part, tuple(classes), bool(classes), number, want.named)


def _unique_keys(answer: DataSet, levels: Iterable[str], level: str, given: DataSet) -> DataSet:
    """The identifier of a retrieve, from an answer; what the answer leaves out is as it was asked."""
    identifier = {QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, level)}
    for name in levels:
        tag = UNIQUE_KEYS[name]
        value = text(answer, tag) or text(given, tag)
        if value and (name == level or "\\" not in value):
            identifier[tag] = element(tag, value)
    return identifier


def _values(answer: DataSet, tag: int) -> tuple[str, ...]:
    return tuple(value for value in text(answer, tag).split("\\") if value)


def _number(answer: DataSet, tag: int) -> int:
    value = text(answer, tag).strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0

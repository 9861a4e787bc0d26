"""From wants to requests: what is looked up first, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dcmkit.dataset.elements import DataSet, element, text
from dcmkit.errors import ExitCode, NoPresentationContextError, StatusError, UsageError
from dcmkit.net.association import Association
from dcmkit.services.find_scu import find_contexts
from dcmkit.services.models import COMPOSITE_INSTANCE_ROOT, PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, Model
from dcmkit.services.retrieve_plan import (
    INSTANCES_AT_A_TIME,
    NothingMatchedError,
    Planner,
    Request,
    Want,
    all_sop_classes,
    find_all,
    level_of,
    missing,
)
from tests.archive.objects import CT, MR
from tests.net.server import ECHO_CONTEXT, associate
from tests.services.retrieve_peer import (
    ACCESSION,
    INSTANCE,
    LEVEL,
    PATIENT_ID,
    SERIES,
    STUDY,
    STUDY_DATE,
    Peer,
    Stored,
    retrieving,
    some,
)

TWO_STUDIES = [*some(3, "1.2.1"), *some(2, "1.2.2", accession="A2"), Stored("1.2.2.9.1", "1.2.2", "1.2.2.9", MR)]


def keys(level: str = "", **values: str) -> DataSet:
    tags = {"study": STUDY, "series": SERIES, "instance": INSTANCE, "patient": PATIENT_ID, "accession": ACCESSION}
    found = {tags[name]: element(tags[name], value) for name, value in values.items()}
    return {**found, LEVEL: element(LEVEL, level)} if level else found


def told(identifier: DataSet) -> dict[int, str]:
    return {tag: text(identifier, tag) for tag in sorted(identifier)}


def planned(peer: Peer, want: Want, model: Model = STUDY_ROOT, **how: Any) -> list[Request]:
    return with_association(peer, model, lambda association: Planner(model, lambda: association, **how).requests(want))


def with_association(peer: Peer, model: Model, act: Callable[[Association], Any]) -> Any:
    with retrieving(peer) as listener:
        contexts = find_contexts([model.find]) if model.find else [ECHO_CONTEXT]
        association = associate(listener.port, *contexts)
        try:
            return act(association)
        finally:
            association.release()


# --- levels ---


@pytest.mark.parametrize(
    ("given", "model", "level"),
    [
        (keys(study="1"), STUDY_ROOT, "STUDY"),
        (keys(study="1", instance="2"), STUDY_ROOT, "IMAGE"),
        (keys(patient="1"), STUDY_ROOT, "STUDY"),
        (keys(patient="1"), PATIENT_ROOT, "PATIENT"),
        (keys(accession="1"), PATIENT_ROOT, "STUDY"),
        (keys(" series ", study="1"), STUDY_ROOT, "SERIES"),
    ],
)
def test_the_level_is_said_or_that_of_the_lowest_key(given: DataSet, model: Model, level: str) -> None:
    assert level_of(given, model) == level


@pytest.mark.parametrize(
    ("level", "model"), [("PATIENT", STUDY_ROOT), ("IMAGE", PATIENT_STUDY_ONLY), ("X", STUDY_ROOT)]
)
def test_a_level_the_model_does_not_have(level: str, model: Model) -> None:
    with pytest.raises(UsageError, match="has no level"):
        level_of(keys(level), model)


# --- what is asked for as it is ---


def test_a_study_in_the_study_root_needs_no_query() -> None:
    peer = Peer(TWO_STUDIES)
    (request,) = planned(peer, Want("study", keys("STUDY", study="1.2.1")))
    assert told(request.identifier) == {LEVEL: "STUDY", STUDY: "1.2.1"}
    assert peer.queries == []
    assert (request.level, request.name, request.uids()) == ("STUDY", "study 1.2.1", ("1.2.1",))


def test_a_patient_in_the_patient_root_needs_no_query() -> None:
    peer = Peer(TWO_STUDIES)
    (request,) = planned(peer, Want("p", keys(patient="P1")), PATIENT_ROOT)
    assert told(request.identifier) == {LEVEL: "PATIENT", PATIENT_ID: "P1"}
    assert request.name == "a patient"
    assert peer.queries == []


def test_keys_as_given_are_not_completed() -> None:
    peer = Peer(TWO_STUDIES)
    (request,) = planned(peer, Want("k", keys("SERIES", series="1.2.1.1"), as_given=True))
    assert told(request.identifier) == {LEVEL: "SERIES", SERIES: "1.2.1.1"}
    assert peer.queries == []


# --- what is looked up ---


def test_an_accession_number_is_looked_up() -> None:
    peer = Peer(TWO_STUDIES)
    requests = planned(peer, Want("a", keys("STUDY", accession="A1")), PATIENT_ROOT)
    assert [told(request.identifier) for request in requests] == [
        {LEVEL: "STUDY", PATIENT_ID: "P1", STUDY: "1.2.1"},
        {LEVEL: "STUDY", PATIENT_ID: "P1", STUDY: "1.2.2"},
    ]
    assert [request.expected for request in requests] == [3, 3]


def test_a_patient_in_the_study_root_is_looked_up() -> None:
    requests = planned(Peer(TWO_STUDIES), Want("p", keys(patient="P1")))
    assert [request.uids() for request in requests] == [("1.2.1",), ("1.2.2",)]


def test_a_series_without_its_study_is_completed() -> None:
    peer = Peer(TWO_STUDIES)
    (request,) = planned(peer, Want("s", keys("SERIES", series="1.2.2.9")))
    assert told(request.identifier) == {LEVEL: "SERIES", STUDY: "1.2.2", SERIES: "1.2.2.9"}


@pytest.mark.parametrize("status", [0xA900, 0xC000])
def test_a_peer_that_refuses_to_look_up_is_asked_as_it_is(status: int) -> None:
    (request,) = planned(Peer(TWO_STUDIES, no_find=status), Want("s", keys("SERIES", series="1.2.2.9")))
    assert told(request.identifier) == {LEVEL: "SERIES", SERIES: "1.2.2.9"}


def test_a_peer_without_c_find_cannot_be_asked_for_an_accession_number() -> None:
    with pytest.raises(NoPresentationContextError):
        planned(Peer(TWO_STUDIES, models=(STUDY_ROOT.get,)), Want("a", keys(accession="A1")))
    with pytest.raises(StatusError):
        planned(Peer(TWO_STUDIES, no_find=0xA700), Want("a", keys(accession="A1")))
    with pytest.raises(NoPresentationContextError, match="no C-FIND"):
        with_association(
            Peer(), COMPOSITE_INSTANCE_ROOT, lambda a: find_all(a, COMPOSITE_INSTANCE_ROOT, keys(study="1"))
        )


def test_nothing_matches() -> None:
    with pytest.raises(NothingMatchedError, match=r"accession X: .* nothing") as caught:
        planned(Peer(TWO_STUDIES), Want("accession X", keys(accession="X")))
    assert caught.value.exit_code == ExitCode.NOTHING_DONE


def test_nothing_is_said() -> None:
    with pytest.raises(UsageError, match="no key has a value"):
        planned(Peer(TWO_STUDIES), Want("k", keys("STUDY", study="")))


def test_instances_by_other_keys_are_asked_for_by_series() -> None:
    wanted = Want("k", {**keys("IMAGE", study="1.2.2"), STUDY_DATE: element(STUDY_DATE, "20240131")})
    first, second = planned(Peer(TWO_STUDIES), wanted)
    assert told(first.identifier) == {
        LEVEL: "IMAGE",
        INSTANCE: "1.2.2.1.1\\1.2.2.1.2",
        STUDY: "1.2.2",
        SERIES: "1.2.2.1",
    }
    assert first.name == "2 of level IMAGE"
    assert (first.sop_classes, first.all_classes, first.expected) == ((CT,), True, 2)
    assert second.uids() == ("1.2.2.9.1",)
    assert second.sop_classes == (MR,)


# --- SOP classes ---


def test_the_peer_tells_the_sop_classes_of_a_study() -> None:
    (request,) = planned(Peer(TWO_STUDIES), Want("s", keys("STUDY", study="1.2.2")), sop_classes=True)
    assert (request.sop_classes, request.all_classes, request.expected) == ((CT, MR), True, 3)


def test_the_sop_classes_come_with_what_is_looked_up() -> None:
    peer = Peer(TWO_STUDIES)
    (request,) = planned(peer, Want("s", keys("STUDY", accession="A2")), sop_classes=True)
    assert request.sop_classes == (CT, MR)
    assert len(peer.queries) == 1


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE", "PATIENT"])
def test_else_one_instance_of_each_series_tells(level: str) -> None:
    given = {
        "PATIENT": keys(patient="P1"),
        "STUDY": keys(patient="P1", study="1.2.2"),
        "SERIES": keys(patient="P1", study="1.2.2", series="1.2.2.9"),
        "IMAGE": keys(patient="P1", study="1.2.2", series="1.2.2.9", instance="1.2.2.9.1"),
    }[level]
    peer = Peer(TWO_STUDIES, tells_classes=False)
    (request,) = planned(peer, Want("s", given), PATIENT_ROOT, sop_classes=True)
    assert request.sop_classes == ((CT, MR) if level in ("STUDY", "PATIENT") else (MR,))
    assert request.all_classes is (level == "IMAGE")


def test_a_peer_that_tells_nothing_of_classes() -> None:
    (request,) = planned(Peer(TWO_STUDIES, no_find=0xC000), Want("s", keys("STUDY", study="1.2.2")), sop_classes=True)
    assert (request.sop_classes, request.all_classes) == ((), False)


def test_a_model_without_images() -> None:
    peer = Peer(TWO_STUDIES, tells_classes=False)
    wanted = Want("s", keys("STUDY", patient="P1", study="1.2.2"))
    (request,) = planned(peer, wanted, PATIENT_STUDY_ONLY, sop_classes=True)
    assert request.sop_classes == ()


def test_all_classes_of_what_is_in_it() -> None:
    def classes(peer: Peer, request: Request, model: Model = STUDY_ROOT) -> tuple[str, ...]:
        found: tuple[str, ...] = with_association(peer, model, lambda a: all_sop_classes(a, model, request))
        return found

    study = Request("s", keys("STUDY", study="1.2.2"))
    assert classes(Peer(TWO_STUDIES), study) == (CT, MR)
    assert classes(Peer(TWO_STUDIES), Request("p", keys("PATIENT", patient="P1")), PATIENT_ROOT) == (CT, MR)
    assert classes(Peer(TWO_STUDIES), Request("i", keys("IMAGE", instance="1.2.2.9.1"))) == (MR,)
    assert classes(Peer(TWO_STUDIES, no_find=0xC000), study) == ()
    assert classes(Peer(TWO_STUDIES), study, PATIENT_STUDY_ONLY) == ()


# --- the rest of it ---


def rest(peer: Peer, request: Request, have: set[str], model: Model = STUDY_ROOT) -> list[Request] | None:
    found: list[Request] | None = with_association(peer, model, lambda a: missing(a, model, request, have))
    return found


def test_what_is_missing_is_asked_for_by_series() -> None:
    request = Request("s", keys("STUDY", study="1.2.2"))
    parts = rest(Peer(TWO_STUDIES), request, {"1.2.2.1.1"})
    assert parts is not None
    assert [told(part.identifier) for part in parts] == [
        {LEVEL: "IMAGE", INSTANCE: "1.2.2.1.2", STUDY: "1.2.2", SERIES: "1.2.2.1"},
        {LEVEL: "IMAGE", INSTANCE: "1.2.2.9.1", STUDY: "1.2.2", SERIES: "1.2.2.9"},
    ]
    assert rest(Peer(TWO_STUDIES), request, {"1.2.2.1.1", "1.2.2.1.2", "1.2.2.9.1"}) == []


def test_what_is_missing_of_named_instances_needs_no_query() -> None:
    peer = Peer(TWO_STUDIES)
    request = Request("s", keys("IMAGE", study="1.2.2", series="1.2.2.1", instance="1.2.2.1.1\\1.2.2.1.2"))
    parts = rest(peer, request, {"1.2.2.1.1"})
    assert parts is not None
    assert [part.uids() for part in parts] == [("1.2.2.1.2",)]
    assert peer.queries == []


def test_many_missing_are_asked_for_in_portions() -> None:
    request = Request("s", keys("STUDY", study="1.2.1"))
    parts = rest(Peer(some(INSTANCES_AT_A_TIME + 3)), request, {"1.2.1.1.1"})
    assert parts is not None
    assert [len(part.uids()) for part in parts] == [INSTANCES_AT_A_TIME, 2]


def test_where_the_peer_does_not_tell_all_of_it_is_asked_for() -> None:
    request = Request("s", keys("STUDY", study="1.2.2"))
    assert rest(Peer(TWO_STUDIES, no_find=0xC000), request, {"1"}) is None
    assert rest(Peer([]), request, {"1"}) is None
    assert rest(Peer(TWO_STUDIES), request, {"1"}, PATIENT_STUDY_ONLY) is None


def test_the_key_of_a_request_is_that_of_its_identifier() -> None:
    one = Request("a", keys("STUDY", study="1.2.2"))
    assert one.key == Request("b", keys("STUDY", study="1.2.2"), ("1",), True, 7, False).key
    assert one.key != Request("a", keys("STUDY", study="1.2.3")).key

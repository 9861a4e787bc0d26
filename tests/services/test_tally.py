"""What was promised and what arrived, compared."""

from __future__ import annotations

from typing import Any

import pytest

from dcmkit.dataset.elements import element
from dcmkit.services.retrieve_plan import Request
from dcmkit.services.retrieve_scu import Answer, Arrival, Arrivals, Counts
from dcmkit.services.tally import SHOWN, Tally, merged, named, problems, tally
from tests.services.retrieve_peer import INSTANCE, LEVEL, STUDY

REQUEST = Request("study 1.2", {LEVEL: element(LEVEL, "STUDY"), STUDY: element(STUDY, "1.2")})


def arrived(*uids: str, refused: tuple[str, ...] = (), operations: int = -1) -> Arrivals:
    arrivals = Arrivals()
    arrivals.stored = {uid: Arrival("1.2.3", uid, 0, "", "") for uid in uids}
    arrivals.refused = {uid: Arrival("1.2.3", uid, 0xA700, "", "") for uid in refused}
    arrivals.operations = len(uids) if operations < 0 else operations
    return arrivals


def said(status: int, remaining: int | None, completed: int | None, failed: int | None, **how: Any) -> Answer:
    return Answer(status, counts=Counts(remaining, completed, failed, how.pop("warning", 0)), **how)


def verdict(answer: Answer, arrivals: Arrivals | None, request: Request = REQUEST, service: str = "get") -> list[str]:
    return problems(tally(request, [answer], arrivals), request, service)


def test_all_is_there() -> None:
    assert verdict(said(0, 0, 2, 0), arrived("1", "2")) == []
    assert verdict(said(0, 0, 2, 0), None) == []
    assert verdict(said(0xB000, 0, 1, 0, warning=1), arrived("1", "2")) == []


def test_the_same_object_twice_is_two_operations() -> None:
    assert verdict(said(0, 0, 2, 0), arrived("1", operations=2)) == []


@pytest.mark.parametrize(
    ("answer", "arrivals", "sentence"),
    [
        (said(0, 0, 3, 0), arrived("1", "2"), "has sent 3 objects, and 2 arrived"),
        (said(0, 0, 3, 0), arrived(), "has sent 3 objects, and nothing arrived"),
        (said(0, 0, 1, 0), arrived("1", "2"), "has sent 1 objects, and 2 arrived"),
        (said(0, 2, 1, 0), arrived("1"), "ended with 2 sub-operations remaining"),
        (said(0xB000, 0, 1, 1), arrived("1"), "1 of 2 sub-operations failed"),
        (said(0xB000, 0, 1, 1), None, "1 of 2 sub-operations failed"),
        (said(0xB000, 0, 1, 0), arrived("1"), "the peer answered"),
        (said(0xA702, 0, 0, 2, comment="no room"), arrived(), "cannot perform the sub-operations (A702H): no room"),
        (said(0xA801, None, None, None), None, "move destination unknown"),
        (said(0xFE00, 2, 1, 0), arrived("1"), "cancelled (FE00H)"),
        (said(0, 0, 0, 0), arrived(), "has nothing that matches"),
        (said(0, None, None, None), arrived(), "has nothing that matches"),
    ],
)
def test_what_is_wrong_is_said(answer: Answer, arrivals: Arrivals | None, sentence: str) -> None:
    assert any(sentence in found for found in verdict(answer, arrivals, service="move"))


def test_what_we_cancelled_is_as_it_should_be() -> None:
    assert verdict(said(0xFE00, 2, 1, 0, cancelled=True), arrived("1")) == []


def test_nothing_for_what_was_not_named() -> None:
    assert verdict(said(0, 0, 0, 0), arrived(), REQUEST._replace(named=False)) == []


def test_what_failed_is_listed_without_what_came_after_all() -> None:
    answer = said(0xB000, 0, 1, 2, failed_uids=("1.1", "1.2"))
    found = tally(REQUEST, [answer], arrived("1.1", refused=("1.3",)))
    assert found.failed_uids == ("1.2", "1.3")
    assert "failed: 1.2, 1.3" in problems(found, REQUEST, "get")


def test_where_the_peer_does_not_count_the_number_it_knows_does() -> None:
    expecting = REQUEST._replace(expected=3)
    silent = said(0, None, None, None)
    assert verdict(silent, arrived("1", "2", "3"), expecting) == []
    assert verdict(silent, arrived("1"), expecting) == ["the peer has 3 objects by its own account, and 1 arrived"]


def test_instances_asked_for_by_name_are_looked_for() -> None:
    request = Request("i", {LEVEL: element(LEVEL, "IMAGE"), INSTANCE: element(INSTANCE, "1.1\\1.2")})
    found = tally(request, [said(0, 0, 2, 0)], arrived("1.1", "6.6"))
    assert (found.missing_uids, found.unasked_uids) == (("1.2",), ("6.6",))
    assert problems(found, request, "get") == ["asked for, not sent and not failed: 1.2"]


def test_a_second_association_brings_what_the_first_could_not() -> None:
    first = said(0xB000, 0, 1, 2, failed_uids=("2", "3"))
    assert problems(tally(REQUEST, [first, said(0xB000, 0, 2, 1)], arrived("1", "2", "3")), REQUEST, "get") == []
    short = tally(REQUEST, [first, said(0xB000, 0, 1, 2)], arrived("1", "2"))
    assert short.failed == 1
    assert short.failed_uids == ("3",)


def test_parts_are_added_up() -> None:
    whole = merged(
        [Tally(total=2, promised=2, operations=2), Tally(0xB000, total=3, promised=1, failed=2, operations=1)]
    )
    assert (whole.status, whole.total, whole.promised, whole.failed, whole.operations) == (0xB000, 5, 3, 2, 3)
    assert merged([Tally(0xB000), Tally(0xA700)]).status == 0xA700
    assert merged([Tally(total=None), Tally(total=1)]).total is None
    assert merged([]).total == 0


def test_long_lists_are_cut() -> None:
    assert named([str(number) for number in range(SHOWN + 5)]).endswith(" and 5 more")

"""Timers, on a clock that the test moves."""

from __future__ import annotations

import pytest

from dcmkit.net.deadline import Deadline, Pace


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("dcmkit.net.deadline.monotonic", clock)
    return clock


def test_a_deadline_comes(clock: Clock) -> None:
    deadline = Deadline(10)
    assert not deadline.passed
    assert deadline.remaining() == 10
    clock.now += 4
    assert deadline.remaining() == 6
    clock.now += 6
    assert deadline.passed
    clock.now += 1
    assert deadline.remaining() == 0


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_seconds_are_no_deadline(clock: Clock, seconds: float) -> None:
    deadline = Deadline(seconds)
    clock.now += 1e12
    assert not deadline.passed
    assert deadline.remaining() == float("inf")


def test_a_peer_that_keeps_pace_may_take_any_time(clock: Clock) -> None:
    pace = Pace(60)
    for _ in range(1000):
        clock.now += 59
        assert pace.arrived(Pace.MINIMUM_BYTES)


def test_silence_and_trickles_end(clock: Clock) -> None:
    pace = Pace(60)
    for _ in range(59):
        clock.now += 1
        assert pace.arrived(1)
    clock.now += 1
    assert not pace.arrived(1)


def test_each_window_counts_for_itself(clock: Clock) -> None:
    pace = Pace(60)
    clock.now += 60
    assert pace.arrived(100 * Pace.MINIMUM_BYTES)
    clock.now += 60
    assert not pace.arrived(Pace.MINIMUM_BYTES - 1)


def test_a_new_message_has_a_new_window(clock: Clock) -> None:
    pace = Pace(60)
    clock.now += 59
    pace.restart()
    clock.now += 59
    assert pace.arrived(1)


def test_no_window_is_no_limit(clock: Clock) -> None:
    pace = Pace(0)
    clock.now += 1e12
    assert pace.arrived(1)

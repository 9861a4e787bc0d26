"""Right credentials are remembered, wrong ones slow down; both within bounds."""

from __future__ import annotations

import pytest

from dcmkit.web.attempts import Brake, Remembered


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_remembered_for_a_while(clock):
    known = Remembered(10.0, clock=clock)
    known.put("value", "user", "secret")
    assert known.get("user", "secret") == "value"
    assert known.get("user", "other") is None
    assert known.get("users", "ecret") is None
    clock.now = 10.0
    assert known.get("user", "secret") is None
    assert len(known) == 0


def test_the_longest_unused_is_forgotten(clock):
    known = Remembered(10.0, most=2, clock=clock)
    known.put(1, "a")
    known.put(2, "b")
    assert known.get("a") == 1
    known.put(3, "c")
    assert [known.get(name) for name in "abc"] == [1, None, 3]


def test_no_secret_is_kept():
    known = Remembered(10.0)
    known.put(True, "user", "secret")
    assert "secret" not in repr(vars(known))


def test_some_attempts_are_free_then_each_waits_longer(clock):
    brake = Brake(free=3, longest=60.0, clock=clock)
    waits = []
    for _ in range(10):
        brake.wrong("a")
        waits.append(brake.wait("a"))
        clock.now += waits[-1]
    assert waits == [0, 0, 0, 2, 4, 8, 16, 32, 60, 60]
    assert brake.wait("b") == 0


def test_forgiven_when_right_or_long_ago(clock):
    brake = Brake(free=0, longest=4.0, clock=clock)
    brake.wrong("a")
    brake.right("a")
    assert brake.wait("a") == 0
    brake.right("never seen")
    for _ in range(3):
        brake.wrong("a")
    clock.now = 100.0
    brake.wrong("a")
    assert brake.wait("a") == 2.0


def test_watches_no_more_than_some(clock):
    brake = Brake(most=10, clock=clock)
    for number in range(1000):
        brake.wrong(str(number))
    assert len(brake) == 10


def test_endless_attempts_do_not_overflow(clock):
    brake = Brake(free=0, longest=60.0, clock=clock)
    for _ in range(5000):
        brake.wrong("a")
    assert brake.wait("a") == 60.0

"""Bodies in memory."""

from __future__ import annotations

from dcmkit.web.body_cache import BodyCache, KeptBody, gathered


def test_bodies_are_kept_up_to_the_limit() -> None:
    cache = BodyCache(100)
    cache.put("a", KeptBody(b"x" * 40))
    cache.put("b", KeptBody(b"x" * 40))
    assert cache.get("a") == KeptBody(b"x" * 40)
    cache.put("c", KeptBody(b"x" * 30, b"y" * 10))
    assert cache.get("b") is None  # asked for the longest ago
    assert cache.get("a") is not None
    assert cache.get("c") is not None


def test_a_large_one_is_not_kept() -> None:
    cache = BodyCache(100)
    cache.put("a", KeptBody(b"x" * 51))
    assert cache.get("a") is None


def test_one_in_place_of_another() -> None:
    cache = BodyCache(100)
    for _ in range(10):
        cache.put("a", KeptBody(b"x" * 30, b"y" * 10))
    cache.put("b", KeptBody(b"x" * 50))
    assert cache.get("a") is not None


def test_what_is_gathered() -> None:
    assert gathered(iter([b"ab", b"cd"]), 10) == (b"abcd", None)
    whole, rest = gathered(iter([b"ab", b"cd", b"ef"]), 3)
    assert whole == b"abcd"
    assert rest is not None
    assert list(rest) == [b"ef"]

"""Answers are kept while the index stays the same, and not too many of them."""

from __future__ import annotations

from dcmkit.web.exchange import Reply, Rope
from dcmkit.web.search_cache import SearchCache


def test_an_answer_comes_again_while_nothing_changed():
    cache = SearchCache()
    reply = Reply(body=b"[]")
    assert cache.get(1, "a") is None
    cache.put(1, "a", reply)
    assert cache.get(1, "a") is reply
    assert cache.get(1, "b") is None
    assert cache.get(2, "a") is None
    cache.put(2, "b", reply)
    assert cache.get(1, "a") is None
    assert cache.get(2, "a") is None
    assert cache.get(2, "b") is reply


def test_its_size_is_limited():
    cache = SearchCache(10_000)
    for number in range(100):
        cache.put(1, number, Reply(body=bytes(1000)))
    kept = [number for number in range(100) if cache.get(1, number) is not None]
    assert kept == list(range(96, 100))
    cache.get(1, 96)  # asked for last
    cache.put(1, 100, Reply(body=bytes(1000)))
    assert cache.get(1, 96) is not None
    assert cache.get(1, 97) is None


def test_what_is_too_large_or_no_bytes_is_not_kept():
    cache = SearchCache(10_000)
    cache.put(1, "large", Reply(body=bytes(10_001)))
    cache.put(1, "rope", Reply(body=Rope((b"a",))))
    assert cache.get(1, "large") is None
    assert cache.get(1, "rope") is None
    first, second = Reply(body=b"1"), Reply(body=b"2")
    cache.put(1, "same", first)
    cache.put(1, "same", second)
    assert cache.get(1, "same") is first

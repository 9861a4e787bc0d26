"""Images that stay open, and answers that are kept."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.archive.located import Located, locate
from dcmkit.archive.store import Archive
from dcmkit.errors import InvalidDataSetError
from dcmkit.web import image_cache
from dcmkit.web.exchange import GoneError
from dcmkit.web.image_cache import ImageCache, ResultCache, UnusableError, blaming_object, open_image
from tests.archive.objects import archive_in
from tests.web.pictures import STUDY, put_image


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


def stored(archive: Archive, count: int) -> list[Located]:
    for number in range(count):
        put_image(archive, uid=f"1.2.3.{number + 10}", instance=number)
    return locate(archive, STUDY)


def test_an_image_stays_open_for_the_next_one(archive: Archive) -> None:
    cache = ImageCache()
    (instance,) = stored(archive, 1)
    with cache.lend(instance) as first, cache.lend(instance) as second:
        assert first is second
    with cache.lend(instance) as third:
        assert third is first
    with cache.lend(instance._replace(mtime_ns=1)) as other:
        assert other is not first
    gone = [weakref.ref(first), weakref.ref(other)]
    del first, second, third, other
    assert all(one() is not None for one in gone)
    cache.close()
    assert all(one() is None for one in gone)


def test_only_so_many_stay_open(archive: Archive) -> None:
    cache = ImageCache(2)
    images = stored(archive, 5)
    with cache.lend(images[0]) as kept:
        for instance in images[1:]:
            with cache.lend(instance):
                pass
        assert len(cache) == 3
        assert kept.frame(0)
    assert len(cache) == 2
    cache.close()


def test_what_nobody_wants_for_a_while_is_closed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(image_cache, "monotonic", lambda: now[0])
    cache = ImageCache()
    first, second = stored(archive, 2)
    with cache.lend(first):
        pass
    now[0] = 1000.0
    with cache.lend(second):
        pass
    assert len(cache) == 1


def test_threads_share(archive: Archive) -> None:
    cache = ImageCache(1)
    images = stored(archive, 4)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(50):
                for instance in images:
                    with cache.lend(instance) as image:
                        assert len(image.frame(0)) == 1200
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert len(cache) == 1
    cache.close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(GoneError):
        open_image(str(tmp_path / "nothing"))
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"x" * 1000)
    with pytest.raises(UnusableError) as caught:
        open_image(str(garbage))
    assert caught.value.http_status == 406


def test_blame() -> None:
    with pytest.raises(UnusableError, match="it is so"), blaming_object():
        raise InvalidDataSetError("it is so")
    with pytest.raises(UnusableError), blaming_object(), blaming_object():
        raise UnusableError("once")


def test_results() -> None:
    cache = ResultCache(80)
    cache.put("large", bytes(11))
    assert cache.get("large") is None
    for number in range(9):
        cache.put(number, bytes(10))
        cache.put(number, bytes(9))
    assert cache.get(0) is None
    assert cache.get(8) == bytes(9)

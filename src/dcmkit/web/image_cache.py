"""Images that stay open for who asks for one frame after the other, and small answers that were made already.

Both are bounded, and only spare work: an entry is for one version of a file, and another file has another version.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.pixels.image_file import ImageFile
from dcmkit.web.exchange import GoneError

if TYPE_CHECKING:
    from dcmkit.archive.located import Located

OPEN_LIMIT = 24
"""Images that are open though nobody reads them; each costs a descriptor and its list of elements."""
IDLE_SECONDS = 60.0
"""What nobody asked for so long is closed, so that the room of removed files becomes free."""
RESULTS_LIMIT = 16 << 20


class UnusableError(InvalidDataSetError):
    """A stored object that cannot be shown or taken apart, which is no fault of the request."""

    http_status = 406


@contextmanager
def blaming_object() -> Iterator[None]:
    """What is wrong with stored bytes is not told as a wrong request."""
    try:
        yield
    except UnusableError:
        raise
    except InvalidDataSetError as error:
        raise UnusableError(
            f"the object cannot be used so: {error.message}", hint=error.hint, offending_element=error.offending_element
        ) from None


def open_image(path: str) -> ImageFile:
    """A stored object.

    Raises:
        GoneError: its file is not there.
        UnusableError: it is damaged.
        InputError: it cannot be read.
    """
    try:
        with blaming_object():
            return ImageFile(path)
    except UnusableError:
        raise
    except InputError:
        if not os.path.exists(path):
            raise GoneError("a file has gone from the archive", hint="dcmkit index check finds such") from None
        raise


class _Entry:
    __slots__ = ("image", "used", "users")

    def __init__(self, image: ImageFile) -> None:
        self.image, self.users, self.used = image, 1, 0.0


class ImageCache:
    """Open images, lent to several threads at a time.

    Args:
        limit: how many stay open that nobody has.
    """

    def __init__(self, limit: int = OPEN_LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    @contextmanager
    def lend(self, instance: Located) -> Iterator[ImageFile]:
        """A stored object, open as long as it is lent. Raises: as `open_image`."""
        key = instance.path, instance.version
        entry = self._take(key)
        if entry is None:
            entry = self._add(key, open_image(instance.path))
        try:
            yield entry.image
        finally:
            self._give_back(entry)

    def _take(self, key: tuple[str, str]) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.users += 1
                self._entries.move_to_end(key)
            return entry

    def _add(self, key: tuple[str, str], image: ImageFile) -> _Entry:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(image)
                return entry
            entry.users += 1  # another thread was faster
        image.close()
        return entry

    def _give_back(self, entry: _Entry) -> None:
        now = monotonic()
        with self._lock:
            entry.users -= 1
            entry.used = now
            unused = [key for key, one in self._entries.items() if not one.users]
            surplus = len(unused) - self._limit
            leaving = [
                self._entries.pop(key)
                for at, key in enumerate(unused)
                if at < surplus or now - self._entries[key].used > IDLE_SECONDS
            ]
        for one in leaving:
            one.image.close()

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Close all that nobody has; what is lent stays open until it is collected."""
        with self._lock:
            leaving = [entry for entry in self._entries.values() if not entry.users]
            self._entries.clear()
        for one in leaving:
            one.image.close()


class ResultCache:
    """Byte strings by key, those last used, up to so many bytes together."""

    def __init__(self, limit: int = RESULTS_LIMIT) -> None:
        self._limit, self._size = limit, 0
        self._lock = threading.Lock()
        self._found: OrderedDict[object, bytes] = OrderedDict()

    def get(self, key: object) -> bytes | None:
        """What was kept under a key."""
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: object, value: bytes) -> None:
        """Keep it; what is longer than an eighth of the room is not kept."""
        if len(value) > self._limit // 8:
            return
        with self._lock:
            self._size += len(value) - len(self._found.pop(key, b""))
            self._found[key] = value
            while self._size > self._limit:
                self._size -= len(self._found.popitem(last=False)[1])

"""One thread of a process at a time for each SOP Instance."""

from __future__ import annotations

import threading
from collections.abc import Collection


class Claims:
    """What an archive and a folder share.

    Attributes:
        filings: objects this process has filed, or tried to.
    """

    def __init__(self) -> None:
        self.filings = 0
        self._claimed: set[str] = set()
        self._released = threading.Condition()

    def claim(self, sop_instance_uid: str) -> None:
        """Returns when no other thread has claimed this SOP Instance."""
        with self._released:
            while sop_instance_uid in self._claimed:
                self._released.wait()
            self._claimed.add(sop_instance_uid)

    def release(self, sop_instance_uid: str) -> None:
        """End the claim."""
        with self._released:
            self._claimed.discard(sop_instance_uid)
            self.filings += 1
            self._released.notify_all()

    def claim_all(self, sop_instance_uids: Collection[str]) -> None:
        """Returns when no other thread has claimed any of these: none is held while another is waited for."""
        with self._released:
            while not self._claimed.isdisjoint(sop_instance_uids):
                self._released.wait()
            self._claimed.update(sop_instance_uids)

    def release_all(self, sop_instance_uids: Collection[str]) -> None:
        """End these claims."""
        with self._released:
            self._claimed.difference_update(sop_instance_uids)
            self.filings += len(sop_instance_uids)
            self._released.notify_all()

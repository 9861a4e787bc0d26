"""Empties the trash of an archive of what has been there too long: when the service begins, and once a day."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dcmkit.archive.trash import purge
from dcmkit.errors import DcmkitError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

log = get_logger("web")

DAY = 86400.0
_PATIENCE = 2.0
"""Seconds that a service which ends waits for it; what it leaves half removed goes the next time."""


class TrashKeeper:
    """A thread beside the service. Of several processes each has one: they take turns.

    Args:
        archive: open.
        days: what was deleted longer ago goes for good.
    """

    def __init__(self, archive: Archive, days: float) -> None:
        self._archive, self._days = archive, days
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trash", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._closing.set()
        self._thread.join(_PATIENCE)

    def look(self) -> int:
        """Empty the trash of what is too old; how many deletions that was."""
        try:
            gone = purge(self._archive, self._days * DAY)
        except DcmkitError as error:
            log.warning("the trash cannot be emptied: %s", error)
            return 0
        if gone:
            log.info("%d deletions of more than %g days ago are gone for good", gone, self._days)
        return gone

    def _run(self) -> None:
        self.look()
        while not self._closing.wait(DAY):
            self.look()

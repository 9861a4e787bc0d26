"""After a kill: what was on its way in goes, what made it to its name gets its row."""

from __future__ import annotations

from dcmkit.archive import slot
from dcmkit.logs import get_logger

log = get_logger("archive")


def remove_leftovers(incoming: str) -> int:
    """Remove what dead processes left in `incoming`; how many processes that was."""
    dead = 0
    for path in slot.abandoned(incoming):
        dead += 1
        removed = slot.clear(path)
        log.warning("removed %d unfinished objects a process left when it was killed", removed)
    return dead

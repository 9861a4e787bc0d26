"""Memory that many frames take in turns."""

from __future__ import annotations

import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
KEPT, SMALL = 64 << 20, 16 << 20


def keep_freed() -> bool:
    """Keep some of what is freed for the next frame, where glibc gives out memory; elsewhere nothing changes.

    Arrays of frames would go back to the system each time, and come back filled with zeros: a tenth of the time that
    a CT slice takes. Larger ones than `SMALL` still do, and no thread keeps more than `KEPT`.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, SMALL)) and bool(mallopt(_TRIM_THRESHOLD, KEPT))

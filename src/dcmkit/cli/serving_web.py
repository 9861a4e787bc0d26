"""What the commands that serve DICOMweb have in common."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

    from dcmkit.services.access import Rights


def scopes_of(rights: Rights) -> frozenset[str]:
    """What who has these rights by DIMSE may do by DICOMweb."""
    scopes = frozenset(name for name, granted in rights._asdict().items() if granted)
    return scopes | {"admin"} if all(rights) else scopes


def leave(code: int = 0) -> NoReturn:
    """End the process although a thread of it is still busy with what nobody waits for."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more
    os._exit(code)

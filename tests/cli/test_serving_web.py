"""What the commands that serve DICOMweb have in common."""

from __future__ import annotations

import subprocess
import sys

from dcmkit.cli.serving_web import scopes_of
from dcmkit.services.access import ALL, rights
from dcmkit.web.identity import ALL_SCOPES


def test_rights_are_scopes() -> None:
    assert scopes_of(rights("R")) == {"query", "retrieve"}
    assert scopes_of(rights("RW")) == {"query", "retrieve", "store"}
    assert scopes_of(ALL) == ALL_SCOPES


def test_a_busy_thread_does_not_keep_the_process() -> None:
    program = (
        "import threading; from dcmkit.cli.serving_web import leave;"
        "threading.Thread(target=threading.Event().wait).start(); print('said'); leave(3)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (3, "said\n")

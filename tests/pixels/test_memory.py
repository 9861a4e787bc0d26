"""Freed memory is kept where glibc gives it out, and asking for it harms nowhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcmkit.pixels import memory

_COUNT = """
import resource, sys
from dcmkit.pixels.memory import keep_freed
if sys.argv[1] == "kept" and not keep_freed():
    sys.exit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    some = [bytearray(4 << 20) for _ in range(2)]
for _ in range(3):
    work()
before = faults()
for _ in range(50):
    work()
print(faults() - before)
"""


def _faults(word: str) -> int:
    done = subprocess.run([sys.executable, "-c", _COUNT, word], capture_output=True, text=True, timeout=50)
    if done.returncode == 3:
        pytest.skip("no mallopt here")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_freed_memory_comes_again() -> None:
    assert _faults("kept") < 50


def test_is_no_matter_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed() is False

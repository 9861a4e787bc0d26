"""What options say, as a Rendering."""

from __future__ import annotations

import pytest

from dcmkit.cli import rendering
from dcmkit.errors import UsageError


def test_sizes():
    assert rendering.size("--size", "640x480") == (480, 640)
    assert rendering.size("--size", "640x") == (0, 640)
    assert rendering.size("--size", "X480") == (480, 0)
    for wrong in ("640", "x", "axb", "-1x5", "0x0"):
        with pytest.raises(UsageError):
            rendering.size("--size", wrong)


def test_montages():
    assert rendering.montage("4") == (4, 0)
    assert rendering.montage("4x3") == (4, 3)
    for wrong in ("0", "x3", "101", "a"):
        with pytest.raises(UsageError):
            rendering.montage(wrong)


def test_frames():
    assert rendering.frames("all", 3) == range(3)
    assert rendering.frames("2", 3) == range(1, 2)
    assert rendering.frames("2-3", 3) == range(1, 3)
    for wrong in ("0", "4", "3-2", "1-4", "x", ""):
        with pytest.raises(UsageError):
            rendering.frames(wrong, 3)


def test_numbers():
    assert rendering.numbers("--window", "40,400.5", 2, "40,400") == [40, 400.5]
    for wrong in ("40", "nan,1", "a,b", "1,2,3", "1e999,1"):
        with pytest.raises(UsageError):
            rendering.numbers("--window", wrong, 2, "40,400")


def test_refusals_have_a_reason():
    rendering.refuse("+Pod --lin-od-shape", False)
    with pytest.raises(UsageError, match=r"\+Pod, --lin-od-shape is DCMTK's, not dcmkit's: it is for printing on film"):
        rendering.refuse("+Pod --lin-od-shape", True)

"""Keywords no index key has."""

from __future__ import annotations

import pytest

from dcmkit.dataset.dictionary import look_up


@pytest.mark.parametrize(
    ("keyword", "found"),
    [
        ("KVP", (0x00180060, "DS")),
        ("PixelSpacing", (0x00280030, "DS")),
        ("SmallestImagePixelValue", (0x00280106, "US")),
        ("NoSuchThing", None),
        ("", None),
    ],
)
def test_look_up(keyword: str, found: tuple[int, str] | None):
    assert look_up(keyword) == found

"""Letters."""

from __future__ import annotations

import numpy as np

from dcmkit.pixels.lettering import glyph


def test_every_printable_character_of_ascii_has_its_own_dots():
    seen = {glyph(chr(code)).tobytes() for code in range(0x20, 0x7F)}
    assert len(seen) == 95
    assert all(glyph(chr(code)).shape == (7, 5) for code in range(0x20, 0x7F))


def test_a_letter_looks_like_itself():
    assert glyph("T").tolist()[0] == [True] * 5
    assert glyph("T")[1:, 2].all()


def test_accents_are_left_out_and_the_rest_is_a_box():
    assert np.array_equal(glyph("é"), glyph("e"))
    assert np.array_equal(glyph("漢"), glyph("\x1b"))

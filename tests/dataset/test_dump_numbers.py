"""Digits as dcmdump makes them; each of these was printed by it."""

from __future__ import annotations

import struct

import pytest

from dcmkit.dataset.dump_numbers import float_text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.1, "-0.1"),
        (1 / 3, "0.3333333333333333"),
        (2 / 3, "0.66666666666666661"),
        (578.55999755859375, "578.55999755859375"),
        (44.02198791503906, "44.0219879150390625"),
        (1e300, "1.0000000000000007e+300"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
    ],
)
def test_doubles(number, text):
    assert float_text(number, 17) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1 / 7, "0.142857149"), (1e-5, "9.99999975e-06"), (1e10, "1e+10"), (999999999.5, "1e+09")]
)
def test_singles(number, text):
    assert float_text(struct.unpack("<f", struct.pack("<f", number))[0], 9) == text


@pytest.mark.parametrize("number", [5e-324, 1.5e308, 9.9999999999999999e16, 0.0001, 0.00009999])
def test_any_number_ends(number):
    assert float(float_text(number, 17)) == pytest.approx(number, rel=1e-12)

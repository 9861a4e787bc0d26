"""Samples and the bits of which they are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import (
    Array,
    color_after_lossless,
    needed_precision,
    restored_samples,
    shape_of,
    unsigned_samples,
)


def grey(stored: int, allocated: int = 16, *, signed: bool = False) -> PixelDescription:
    return PixelDescription(2, 3, 1, "MONOCHROME2", allocated, stored, stored - 1, int(signed))


@given(st.data())
def test_samples_survive_being_unsigned(data: st.DataObject) -> None:
    allocated = data.draw(st.sampled_from([8, 16, 32]))
    description = grey(data.draw(st.integers(1, allocated)), allocated, signed=data.draw(st.booleans()))
    kind = np.iinfo(description.dtype)
    values = data.draw(st.lists(st.integers(int(kind.min), int(kind.max)), min_size=6, max_size=6))
    array: Array = np.array(values, description.dtype).reshape(2, 3)
    least = needed_precision(array, description)
    precision = data.draw(st.integers(least, allocated))
    if description.signed and description.bits_stored < precision < allocated:
        return  # a codec keeps the bits stored, or all of them
    samples = unsigned_samples(array, precision)
    assert samples.dtype.kind == "u"
    assert int(samples.max()) < 1 << precision
    restored = restored_samples(samples, precision, description)
    assert restored.dtype == array.dtype
    if precision == allocated > description.bits_stored and description.signed:
        assert np.array_equal(restored & (1 << description.bits_stored) - 1, array & (1 << description.bits_stored) - 1)
    else:
        assert np.array_equal(restored, array)


def test_signs_that_were_not_extended() -> None:
    """Some devices write 12 bits of two's complement with zeros above them."""
    samples = np.array([0, 1, 2047, 2048, 4095], "<u2")
    restored = restored_samples(samples, 16, grey(12, signed=True))
    assert restored.tolist() == [0, 1, 2047, -2048, -1]


def test_bits_above_the_precision_mean_nothing() -> None:
    """Lossless JPEG counts modulo 2^16, whatever its precision is."""
    samples = np.array([5, 65536 - 4096 + 7], "<u2")
    assert restored_samples(samples, 12, grey(12)).tolist() == [5, 7]


def test_unused_bits_count_where_they_are_used() -> None:
    assert needed_precision(np.array([4095], "<u2"), grey(12)) == 12
    assert needed_precision(np.array([4096], "<u2"), grey(12)) == 16
    assert needed_precision(np.array([-2048, 2047], "<i2"), grey(12, signed=True)) == 12
    assert needed_precision(np.array([-2049], "<i2"), grey(12, signed=True)) == 16
    assert needed_precision(np.array([1], "<u2"), grey(12)._replace(high_bit=15)) == 16


def test_shapes() -> None:
    assert shape_of(PixelDescription(2, 3)) == (2, 3)
    assert shape_of(PixelDescription(2, 3, 3)) == (2, 3, 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [("RGB", "RGB"), ("YBR_FULL_422", "YBR_FULL"), ("YBR_RCT", "RGB"), ("YBR_ICT", "RGB"), ("XYB", "RGB"),
     ("YBR_PARTIAL_422", "YBR_PARTIAL"), ("MONOCHROME1", "MONOCHROME1"), ("PALETTE COLOR", "PALETTE COLOR")],
)  # fmt: skip
def test_color_when_its_coding_is_undone(before: str, after: str) -> None:
    assert color_after_lossless(PixelDescription(2, 3, 3, before)) == after

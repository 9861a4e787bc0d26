"""The quality of lossy JPEG, from its tables."""

from __future__ import annotations

import pytest

from dcmkit.deid.quantization import quality_of
from dcmkit.pixels import codecs, syntaxes
from dcmkit.pixels.frames import EncodeOptions
from tests.pixels.images import IMAGES


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 98])
@pytest.mark.parametrize("name", ["8 bits", "rgb"])
def test_the_quality_it_was_made_with(quality, name):
    array, description = IMAGES[name]
    data = codecs.encode_frame(array, syntaxes.JPEG_BASELINE, description, EncodeOptions(quality=quality)).data
    assert quality_of(data) == quality
    table = data.index(b"\xff\xdb") + 5
    assert quality_of(data[: table + 10] + b"\xaa" + data[table + 11 :]) == 0


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda\0\2", b"\xff\xd8\xff\xdb\0\x43\0", b"\xff\xd8abcdef"]
)
def test_what_has_no_tables_has_no_quality(data):
    assert quality_of(data) == 0

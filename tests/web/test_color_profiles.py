"""ICC profiles of rendered images."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest

from dcmkit.dataset.elements import Element
from dcmkit.errors import InvalidDataSetError, UsageError
from dcmkit.web import color_profiles
from dcmkit.web.color_profiles import embedded, profile, with_profile

PICTURE = np.tile(np.array([[[200, 40, 40], [40, 200, 40]]], np.uint8), (8, 4, 1))


@pytest.fixture
def of_object(monkeypatch: pytest.MonkeyPatch):
    """An image with a profile of its own."""

    def image(own: bytes):
        elements = {0x00282000: Element("OB", own)} if own else {}
        monkeypatch.setattr(color_profiles, "rendering_elements", lambda _: elements)
        return SimpleNamespace()

    return image


def test_grey_pictures_have_none(of_object):
    picture, found = with_profile(PICTURE[..., 0], of_object(b""), "srgb")
    assert (picture.ndim, found) == (2, b"")


@pytest.mark.parametrize("name", ["srgb", "adobergb", "rommrgb"])
def test_profiles_are_profiles(name):
    assert profile(name)[36:40] == b"acsp"
    assert len({profile(each) for each in ("srgb", "adobergb", "rommrgb")}) == 3


def test_as_they_are(of_object):
    own = profile("adobergb")
    picture, found = with_profile(PICTURE, of_object(own), "yes")
    assert (picture is PICTURE, found) == (True, own)
    assert with_profile(PICTURE, of_object(b"short"), "yes")[1] == profile("srgb")


def test_in_another_space_numbers_change(of_object):
    picture, found = with_profile(PICTURE, of_object(b""), "adobergb")
    assert found == profile("adobergb")
    assert np.abs(picture.astype(int) - PICTURE).max() > 5
    back, _ = with_profile(picture, of_object(found), "srgb")
    assert np.abs(back.astype(int) - PICTURE).max() <= 2
    assert with_profile(PICTURE, of_object(b""), "srgb")[0] is PICTURE
    assert with_profile(PICTURE, of_object(b""), "rommrgb")[0].shape == PICTURE.shape


def test_a_damaged_profile(of_object):
    with pytest.raises(InvalidDataSetError):
        with_profile(PICTURE, of_object(b"no profile" * 20), "srgb")


def test_in_jpeg_files():
    file = bytes(imagecodecs.jpeg8_encode(PICTURE, 90))
    big = bytes(150_000)
    for content in (profile("srgb"), big):
        found = embedded(file, "image/jpeg", content)
        assert np.array_equal(imagecodecs.jpeg8_decode(found), imagecodecs.jpeg8_decode(file))
        parts = found.split(b"ICC_PROFILE\0")
        assert len(parts) - 1 == -(-len(content) // 65519)
        assert found.index(b"JFIF") < found.index(b"ICC_PROFILE")
    assert content[:65519] in found


def test_in_png_files():
    file = bytes(imagecodecs.png_encode(PICTURE))
    found = embedded(file, "image/png", profile("srgb"))
    assert np.array_equal(imagecodecs.png_decode(found), PICTURE)
    length, name = struct.unpack(">I4s", found[33:41])
    chunk = found[37 : 41 + length]
    assert name == b"iCCP"
    assert zlib.decompress(chunk[9:]) == profile("srgb")
    assert zlib.crc32(chunk) == int.from_bytes(found[41 + length : 45 + length], "big")


def test_not_in_others():
    with pytest.raises(UsageError):
        embedded(b"GIF89a", "image/gif", profile("srgb"))

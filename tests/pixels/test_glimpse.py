"""What is seen at a glance is what whoever looks closely sees."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import pytest

from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DcmkitError
from dcmkit.pixels.glimpse import Glimpse, glimpse
from dcmkit.pixels.image_file import ImageFile
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.interop.samples import sources
from tests.pixels.files import attributes, element, write

MORE = (element(0x00280102, "US", b"\7\0"), element(0x00280103, "US", b"\0\0"))


def seen(path: Path) -> Glimpse | None:
    return glimpse(str(path), read_file_header(path).offset, path.stat().st_size)


def plain(path: Path, *, rows: int = 40, columns: int = 700, vr: str = "OW", more: bytes = b"", **said: int) -> Path:
    pixels = element(0x7FE00010, vr, Random(1).randbytes(rows * columns))
    return write(path, EXPLICIT_VR_LITTLE_ENDIAN, attributes(rows, columns, **said), *MORE, more, pixels)


def check(path: Path) -> bool:
    """Whether anything was seen; it is right."""
    found = seen(path)
    if found is None:
        return False
    with ImageFile(path) as image:
        assert found.description == image.description
        assert image.places(0) == [(found.offset, found.length)]
        assert path.read_bytes()[found.offset : found.offset + found.length] == image.frame(0)
    return True


@pytest.mark.parametrize(("rows", "columns"), [(40, 700), (201, 103)])
@pytest.mark.parametrize("vr", ["OW", "OB"])
def test_a_plain_image(tmp_path: Path, rows: int, columns: int, vr: str) -> None:
    assert check(plain(tmp_path / "image", rows=rows, columns=columns, vr=vr))
    assert check(plain(tmp_path / "one", rows=rows, columns=columns, vr=vr, frames=1))


def test_bundled_files() -> None:
    found = 0
    for path in sources():
        try:
            header = read_file_header(path)
        except DcmkitError:
            continue
        if header.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
            found += check(Path(path))
    assert found


def test_what_takes_more_than_a_look(tmp_path: Path) -> None:
    assert seen(plain(tmp_path / "frames", frames=2)) is None
    assert seen(plain(tmp_path / "long", more=element(0x00290010, "OB", bytes(20_000)))) is None
    assert seen(plain(tmp_path / "bits", bits=12)) is None
    assert seen(plain(tmp_path / "short", rows=2, columns=2)) is None
    path = plain(tmp_path / "wrong")
    path.write_bytes(path.read_bytes().replace(struct.pack("<H", 700) + b"\x28\0", struct.pack("<H", 600) + b"\x28\0"))
    assert seen(path) is None
    path = plain(tmp_path / "cut")
    path.write_bytes(path.read_bytes()[:-2])
    assert seen(path) is None
    assert glimpse(str(tmp_path / "nothing"), 0, 10) is None


def test_damage_is_never_seen_as_something_else(tmp_path: Path) -> None:
    random = Random(5)
    whole = plain(tmp_path / "whole").read_bytes()
    path = tmp_path / "damaged"
    offset = read_file_header(tmp_path / "whole").offset
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            content[random.randrange(offset, offset + 200)] = random.randrange(256)
        path.write_bytes(content)
        found = glimpse(str(path), offset, len(content))
        if found is not None:
            with ImageFile(path) as image:
                assert (found.offset, found.length) == (image.places(0) or [()])[0]
                assert found.description == image.description

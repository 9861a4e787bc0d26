"""What a peer takes, and what is made of an object for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import InputError, InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels.guard import close
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.plan import named
from dcmkit.pixels.transcode import transcode_file
from dcmkit.services.conversion import convert, ranked
from tests.pixels.test_transcode import made, same, sample


@pytest.fixture(autouse=True)
def no_workers_left():
    yield
    close()


def ways(*names: str) -> list[tuple[int, str]]:
    return [(2 * number + 1, named(name)) for number, name in enumerate(names)]


def source(tmp_path: Path, name: str, image: str = "12 bits") -> Path:
    transcode_file(made(tmp_path / "native", image), tmp_path / name, named(name))
    return tmp_path / name


def converted(tmp_path: Path, path: Path, *names: str) -> tuple[str, Path, bool]:
    found = convert(str(path), ways(*names))
    try:
        data = os.read(found.descriptor, found.length + 1)
    finally:
        os.close(found.descriptor)
    assert len(data) == found.length
    target = tmp_path / "sent"
    target.write_bytes(file_meta("1.2", found.sop_instance_uid, found.transfer_syntax_uid) + data)
    assert dict(ways(*names))[found.context_id] == found.transfer_syntax_uid
    return found.transfer_syntax_uid, target, found.lossy


@pytest.mark.parametrize(
    ("has", "accepted", "expected"),
    [
        ("jpeg-lossless", ("explicit", "jpegls", "jpeg-lossless-14"), "jpeg-lossless-14"),
        ("jpegls", ("implicit", "explicit", "rle"), "explicit"),
        ("jpegls", ("rle", "j2k", "jpeg-extended"), "j2k"),
        ("rle", ("jpeg-extended", "deflated"), "deflated"),
        ("j2k", ("explicit", "j2k-lossy"), "j2k-lossy"),
    ],
)
def test_the_best_way_is_taken(tmp_path: Path, has: str, accepted: tuple[str, ...], expected: str) -> None:
    path = source(tmp_path, has)
    syntax, sent, lossy = converted(tmp_path, path, *accepted)
    assert (syntax, lossy) == (named(expected), False)
    assert same(path, sent)


def test_what_is_signed_goes_where_it_fits(tmp_path: Path) -> None:
    path = source(tmp_path, "rle", "32 bits")
    assert converted(tmp_path, path, "jpegls", "jpeg-extended", "deflated-frames")[0] == named("deflated-frames")


def test_loss_is_the_last_resort(tmp_path: Path) -> None:
    syntax, sent, lossy = converted(tmp_path, source(tmp_path, "rle"), "jpeg", "jpeg-extended")
    assert (syntax, lossy) == (named("jpeg-extended"), True)
    with ImageFile(sent) as image:
        assert image.header.sop_instance_uid.startswith("2.25.")


def test_where_nothing_fits_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSyntaxError, match="cannot be converted from RLE Lossless into what the peer takes"):
        convert(str(source(tmp_path, "rle")), ways("jpeg"))


def test_video_is_never_converted(tmp_path: Path) -> None:
    assert ranked(ImageFile(source(tmp_path, "rle")), [(1, "1.2.840.10008.1.2.4.102"), (3, "1.2.3")]) == []


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    content = bytearray(sample("MR_small_jp2klossless.dcm").read_bytes())
    at = content.rindex(b"\xff\x4f\xff\x51")
    content[at : at + 200] = bytes(200)
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InvalidDataSetError, match="cannot be converted from JPEG 2000"):
        convert(str(tmp_path / "x"), ways("explicit"))
    with pytest.raises(InputError, match="cannot be read"):
        convert(str(tmp_path / "gone"), ways("explicit"))

"""Files whose pixels are cleaned on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.dataset.elements import Element, encode
from dcmkit.dataset.part10 import file_meta
from dcmkit.deid.batch import QUARANTINED, WRITTEN, Job, anonymize
from dcmkit.deid.output import Output
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.pixels import guard
from dcmkit.pixels.codecs import decode_frame
from dcmkit.pixels.frames import Decoded
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.syntaxes import RLE
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.deid.test_engine import CT, IMAGE, file
from tests.deid.test_output import files

SHAPE = {
    0x00080060: Element("CS", "US"), 0x00280002: Element("US", "1"), 0x00280004: Element("CS", "MONOCHROME2"),
    0x00280010: Element("US", "4"), 0x00280011: Element("US", "4"), 0x00280100: Element("US", "8"),
    0x00280101: Element("US", "8"), 0x00280102: Element("US", "7"), 0x00280103: Element("US", "0"),
    0x7FE00010: Element("OB", bytes(range(100, 116))),
}  # fmt: skip


def job(directory: Path, *boxes: tuple[int, int, int, int]) -> Job:
    plan = Plan(parse("clean-pixel-data"))
    return Job(plan, Pseudonyms(b"k" * 32), Output(str(directory)), boxes=boxes)


def test_boxes_are_blank_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    path = str(file(tmp_path / "in", {**IMAGE, **SHAPE}))
    (done,) = anonymize([path], job(tmp_path / "out", (0, 0, 4, 1)))
    assert done.status == WRITTEN
    with ImageFile(done.output) as image:
        assert image.description is not None
        array = decode_frame(image.frame(0), image.transfer_syntax_uid, image.description).array
        assert array.tolist() == [[0] * 4, [104, 105, 106, 107], [108, 109, 110, 111], [112, 113, 114, 115]]
        assert image.elements.text(0x00280301) == "NO"
        assert image.header.sop_instance_uid == done.sop_instance_uid
    assert list(files(tmp_path / "out")) == [str(Path(done.output).relative_to(tmp_path / "out"))]


@pytest.mark.parametrize("box", [(10, 10, 4, 1)])
def test_boxes_that_touch_nothing_are_no_cleaning(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    path = str(file(tmp_path / "in", {**IMAGE, **SHAPE}))
    (done,) = anonymize([path], job(tmp_path / "out", box))
    assert done.status == QUARANTINED
    assert "cannot be cleaned" in done.reason
    assert files(tmp_path / "out") == {}


def test_overlays_are_cleared_out_of_samples(tmp_path: Path) -> None:
    samples = b"".join((0xF000 | value).to_bytes(2, "little") for value in range(16))
    image = {
        **IMAGE, **SHAPE, 0x00080060: Element("CS", "CT"), 0x00280100: Element("US", "16"),
        0x00280101: Element("US", "12"), 0x00280102: Element("US", "11"), 0x60000010: Element("US", "4"),
        0x60000100: Element("US", "16"), 0x60000102: Element("US", "15"), 0x7FE00010: Element("OW", samples),
    }  # fmt: skip
    (done,) = anonymize([str(file(tmp_path / "in", image))], job(tmp_path / "out"))
    assert done.status == WRITTEN
    with ImageFile(done.output) as cleaned:
        assert bytes(cleaned.frame(0)) == b"".join((0x7000 | value).to_bytes(2, "little") for value in range(16))
        assert 0x60000010 not in cleaned.elements


def test_what_strangers_sent_is_decoded_elsewhere_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def decoding(data: memoryview, syntax: str, description: object) -> Decoded:
        asked.append(syntax)
        return decode_frame(data, syntax, description)  # type: ignore[arg-type]

    monkeypatch.setattr(guard, "decode_guarded", decoding)
    rle = b"".join(size.to_bytes(4, "little") for size in (1, 64, *[0] * 14)) + b"\x0f" + bytes(range(100, 116)) + b"\0"
    pixels = b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0" + len(rle).to_bytes(4, "little") + rle
    image = {tag: one for tag, one in {**IMAGE, **SHAPE}.items() if tag < 0x7FE00000}
    path = tmp_path / "in"
    ending = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + pixels + b"\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(file_meta(CT, "1.2.3.4", RLE) + encode(image, EXPLICIT_VR_LITTLE_ENDIAN) + ending)
    for guarded in (True, False):
        (done,) = anonymize([str(path)], job(tmp_path / str(guarded), (0, 0, 4, 1))._replace(guarded=guarded))
        assert (done.status, len(asked)) == (WRITTEN, 1), done.reason
    assert files(tmp_path / "True") == files(tmp_path / "False")

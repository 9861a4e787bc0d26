"""Files whose pixels are cleaned on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.dataset.elements import Element
from dcmkit.deid.batch import QUARANTINED, WRITTEN, Job, anonymize
from dcmkit.deid.output import Output
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.pixels.codecs import decode_frame
from dcmkit.pixels.image_file import ImageFile
from tests.deid.test_engine import IMAGE, file
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

"""One object as a whole: file meta, data set, pixel data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcmkit.dataset.elements import DataSet, Element, decode, encode
from dcmkit.dataset.part10 import file_meta, parse_file_header
from dcmkit.deid.batch import file_pieces
from dcmkit.deid.engine import Anonymized, Anonymizer, QuarantinedError, Source
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.pixels.syntaxes import JPEG_BASELINE
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
PSEUDONYMS = Pseudonyms(b"k" * 32)
IMAGE: DataSet = {
    0x00080016: Element("UI", CT), 0x00080018: Element("UI", "1.2.3.4"), 0x00080020: Element("DA", "20200131"),
    0x00080060: Element("CS", "CT"), 0x00100010: Element("PN", "Smith^John"), 0x00100020: Element("LO", "12345"),
    0x00120063: Element("LO", "by John Smith"), 0x0020000D: Element("UI", "1.2"), 0x0020000E: Element("UI", "1.2.3"),
    0x00280010: Element("US", "1"), 0x00280011: Element("US", "2"), 0x00280100: Element("US", "8"),
    0x7FE00010: Element("OW", b"\1\2"), 0xFFFCFFFC: Element("OB", b"John Smith"),
}  # fmt: skip


def file(path: Path, data_set: DataSet = IMAGE, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, extra: bytes = b"") -> Path:
    meta = file_meta(CT, "1.2.3.4", syntax, source_ae_title="SMITHS_CT")
    path.write_bytes(b"Smith" + meta[5:] + encode(data_set, syntax) + extra)
    return path


def anonymized(path: Path, profile: str = "basic", **how: bool) -> tuple[Anonymized, bytes]:
    anonymizer = Anonymizer(Plan(parse(profile)), PSEUDONYMS, remember=True)
    with Source(path) as source:
        made = anonymizer(source, **how)
        return made, b"".join(bytes(piece) for piece in file_pieces(source, made))


@pytest.mark.parametrize(
    "syntax",
    [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN],
)
def test_everything_around_the_pixels_is_without_identity(tmp_path: Path, syntax: str) -> None:
    made, content = anonymized(file(tmp_path / "in", syntax=syntax))
    header = parse_file_header(content, -1, len(content))
    assert header.transfer_syntax_uid == syntax
    assert header.sop_instance_uid == made.sop_instance_uid == PSEUDONYMS.uid("1.2.3.4")
    after = decode(content[header.offset :], syntax)
    for word in (b"Smith", b"SMITH", b"12345", b"1.2.3.4"):
        assert word not in content
        assert word.decode() not in str(after)
    assert content[:128] == bytes(128)
    assert after[0x7FE00010].value == b"\1\2"
    assert after[0x00120062].value == "YES"
    assert after[0x00280303].value == "REMOVED"
    (code,) = after[0x00120064].value
    assert isinstance(code, dict)
    assert [code[tag].value for tag in (0x00080100, 0x00080102, 0x00080103)] == ["113100", "DCM", "2026d"]
    assert 0x00280301 not in after
    patient = PSEUDONYMS.patient("12345")
    assert made.place == (patient.id, PSEUDONYMS.uid("1.2"), PSEUDONYMS.uid("1.2.3"), PSEUDONYMS.uid("1.2.3.4"))


def test_options_are_named_and_kept_uids_stay_in_names_and_meta(tmp_path: Path) -> None:
    made, content = anonymized(file(tmp_path / "in"), "retain-uids,retain-full-dates", cleaned=True)
    header = parse_file_header(content, -1, len(content))
    after = decode(content[header.offset :], EXPLICIT_VR_LITTLE_ENDIAN)
    assert header.sop_instance_uid == made.sop_instance_uid == "1.2.3.4"
    assert made.place[1:] == ("1.2", "1.2.3", "1.2.3.4")
    assert after[0x00080020].value == "20200131"
    assert (after[0x00280303].value, after[0x00280301].value) == ("UNMODIFIED", "NO")
    assert len(after[0x00120064].value) == 3


def test_what_options_promise_of_pixels_is_said(tmp_path: Path) -> None:
    knee = {**IMAGE, 0x00180015: Element("CS", "KNEE"), 0x00280301: Element("CS", "")}
    path = file(tmp_path / "in", dict(sorted(knee.items())))
    for profile, burned_in, recognizable in (
        ("basic", "", None), ("clean-pixel-data", "NO", None), ("clean-recognizable-visual-features", "", "NO"),
    ):  # fmt: skip
        _, content = anonymized(path, profile)
        after = decode(content[parse_file_header(content, -1, len(content)).offset :], EXPLICIT_VR_LITTLE_ENDIAN)
        assert after[0x00280301].value == burned_in
        assert (after[0x00280302].value if 0x00280302 in after else None) == recognizable


def test_comments_of_codestreams_are_blanked_and_nothing_moves(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xfe\x00\x0cSmith John\xff\xda\0\2\0\0\xff\xd9"
    pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0"
    for _ in range(2):
        pixels += b"\xfe\xff\0\xe0" + len(jpeg).to_bytes(4, "little") + jpeg
    pixels += b"\xfe\xff\xdd\xe0\0\0\0\0"
    image = {tag: one for tag, one in IMAGE.items() if tag < 0x7FE00000}
    path = tmp_path / "in"
    meta = file_meta(CT, "1.2.3.4", JPEG_BASELINE)
    path.write_bytes(meta + encode(image, EXPLICIT_VR_LITTLE_ENDIAN) + pixels)
    _, content = anonymized(path)
    assert content.endswith(pixels.replace(b"Smith John", bytes(10)))


def test_patients_without_an_id_are_told_apart_by_what_else_there_is() -> None:
    anonymizer = Anonymizer(Plan(parse("basic")), PSEUDONYMS)
    known = anonymizer.patient("1", "Smith", "1970", "1.2")
    assert known == anonymizer.patient("1", "Smith^John", "", "1.3")
    by_name = anonymizer.patient("", "Smith", "1970", "1.2")
    assert by_name == anonymizer.patient("", "Smith", "1970", "1.3")
    assert len({known, by_name, anonymizer.patient("", "", "", "1.2"), anonymizer.patient("", "", "", "1.3")}) == 4


def test_what_cannot_be_made_safe_is_held_with_its_reason(tmp_path: Path) -> None:
    ultrasound = {**IMAGE, 0x00080060: Element("CS", "US")}
    with pytest.raises(QuarantinedError, match="ultrasound"):
        anonymized(file(tmp_path / "us", ultrasound))
    anonymized(file(tmp_path / "cleaned", ultrasound), cleaned=True)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Source(tmp_path / "missing")
    (tmp_path / "text").write_text("Smith, John" * 100)
    with pytest.raises(InvalidDataSetError):
        Source(tmp_path / "text")
    short = file(tmp_path / "short")
    short.write_bytes(short.read_bytes()[:-20])
    with pytest.raises(InvalidDataSetError):
        anonymized(short)


def test_elements_that_are_encoded_in_several_ways_are_held(tmp_path: Path) -> None:
    mixed = encode({0x00080000: Element("UL", "4")}, EXPLICIT_VR_LITTLE_ENDIAN)
    path = tmp_path / "in"
    path.write_bytes(
        file_meta(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN) + mixed + encode(IMAGE, IMPLICIT_VR_LITTLE_ENDIAN)
    )
    with pytest.raises(QuarantinedError, match="several ways"):
        anonymized(path)


def test_an_object_without_uid_is_named_by_its_content(tmp_path: Path) -> None:
    nameless = {tag: one for tag, one in IMAGE.items() if tag != 0x00080018}
    path = tmp_path / "in"
    path.write_bytes(bytes(128) + b"DICM" + encode(nameless, EXPLICIT_VR_LITTLE_ENDIAN))
    first, _ = anonymized(path)
    assert first.sop_instance_uid.startswith("2.25.")
    assert anonymized(path)[0].sop_instance_uid == first.sop_instance_uid


def test_patients_side_by_side_do_not_share_what_their_elements_became(tmp_path: Path) -> None:
    plan = Plan(parse("retain-modified-dates,clean-descriptors"))
    expected = {}
    for number, name in enumerate(("Abdomen", "Brain", "Chest", "Knee")):
        who = {0x00100010: Element("PN", name), 0x00100020: Element("LO", str(number))}
        described = {**IMAGE, **who, 0x0008103E: Element("LO", "Abdomen Brain Chest Knee")}
        path = file(tmp_path / name, dict(sorted(described.items())))
        expected[path] = _once(Anonymizer(plan, PSEUDONYMS), path)
    shared = Anonymizer(plan, PSEUDONYMS)
    assert len(set(expected.values())) == len(expected)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda path: _once(shared, path) == expected[path], [*expected] * 20))


def _once(anonymizer: Anonymizer, path: Path) -> bytes:
    with Source(path) as source:
        return b"".join(bytes(piece) for piece in file_pieces(source, anonymizer(source)))

"""What could still identify somebody is found, without its value; what we have replaced is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.dataset.elements import DataSet, Element, encode
from dcmkit.dataset.part10 import file_meta
from dcmkit.deid import boxes
from dcmkit.deid.batch import WRITTEN, Job, anonymize
from dcmkit.deid.checking import Checker, Suspect
from dcmkit.deid.engine import SEVERAL_ENCODINGS
from dcmkit.deid.output import SHORT_NAMES, Output
from dcmkit.deid.profile import OPTIONS, Plan, parse
from dcmkit.deid.pseudonyms import Given, Pseudonyms
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.pixels.syntaxes import JPEG_BASELINE
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.deid.test_directory import ABOVE, ONE, directory, image
from tests.deid.test_engine import CT, IMAGE, file

MARKS = {"0012,0062", "0012,0063", "0012,0064", "0028,0303"}
RICH: DataSet = {
    0x00080008: Element("CS", "ORIGINAL\\PRIMARY"), **{tag: IMAGE[tag] for tag in IMAGE if tag < 0x00090000},
    0x00080050: Element("SH", "ACC-1"), 0x00080080: Element("LO", "St Elsewhere"), 0x00080201: Element("SH", "+0100"),
    0x00081030: Element("LO", "Brain of Mr Smith"), 0x00081048: Element("PN", "Who^Dr"),
    0x00081115: Element("SQ", [{0x0020000E: Element("UI", "1.2.3"), 0x00081030: Element("LO", "")}]),
    0x00090010: Element("LO", "SMITH INC"), 0x00091001: Element("LO", "Smith"),
    **{tag: IMAGE[tag] for tag in IMAGE if 0x00090000 < tag < 0x00100030}, 0x00100030: Element("DA", "19500101"),
    0x00101010: Element("AS", "070Y"), **{tag: IMAGE[tag] for tag in IMAGE if tag > 0x00100030},
    0x0040A730: Element("SQ", [{
        0x0040A010: Element("CS", "CONTAINS"), 0x0040A040: Element("CS", "TEXT"), 0x0040A160: Element("UT", "Mr Smith"),
    }]),
    0x60000010: Element("US", "1"), 0x60003000: Element("OW", b"\1\1"),
}  # fmt: skip
RICH = {tag: RICH[tag] for tag in sorted(RICH)}
SYNTAXES = [
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
]  # fmt: skip


def check(path: Path | str, profile: str = "basic") -> list[Suspect]:
    return list(Checker(Plan(parse(profile)))(str(path)))


def anonymized(tmp_path: Path, path: Path, profile: str = "basic", regions: tuple[boxes.Box, ...] = ()) -> str:
    output = Output(str(tmp_path / "out"), names=SHORT_NAMES)
    job = Job(Plan(parse(profile)), Pseudonyms(b"k" * 32), output, boxes=regions)
    (done,) = anonymize([str(path)], job)
    assert done.status == WRITTEN, done.reason
    return done.output


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_whatever_the_plan_would_change_is_found_but_for_what_is_empty(tmp_path: Path, syntax: str) -> None:
    found = {one.path: one for one in check(file(tmp_path / "in", RICH, syntax))}
    assert set(found) == MARKS | {
        "preamble", "0002,0003", "0002,0016", "0008,0018", "0008,0020", "0008,0050", "0008,0080", "0008,0201",
        "0008,1030", "0008,1048", "0008,1115[1].0020,000E", "0009,0010", "0009,1001", "0010,0010", "0010,0020",
        "0010,0030", "0010,1010", "0020,000D", "0020,000E", "0040,A730[1].0040,A160", "6000,0010", "6000,3000",
        "FFFC,FFFC",
    }  # fmt: skip
    assert found["0010,0010"] == Suspect("0010,0010", "PatientName", "Z", "basic")
    assert found["0008,1115[1].0020,000E"].keyword == "SeriesInstanceUID"
    assert found["0009,1001"].keyword == ""
    assert found["0012,0063"] == Suspect("0012,0063", "DeidentificationMethod", "D", "method")
    assert found["0012,0062"].action == "add"
    assert found["preamble"] == Suspect("preamble", "", "X", "file meta information")
    assert "Smith" not in str(found)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "profile",
    ["basic", *OPTIONS, "clean-descriptors,retain-modified-dates,clean-structured-content,clean-graphics"],
)
def test_what_was_de_identified_by_the_same_profile_shows_nothing(tmp_path: Path, profile: str, syntax: str) -> None:
    knee = dict(sorted({**RICH, 0x00180015: Element("CS", "KNEE")}.items()))  # no face
    assert check(anonymized(tmp_path, file(tmp_path / "in", knee, syntax), profile), profile) == []


def test_another_profile_and_what_was_put_back_are_found(tmp_path: Path) -> None:
    path = Path(anonymized(tmp_path, file(tmp_path / "in", RICH), "retain-modified-dates,retain-institution-identity"))
    found = {one.path: one.action for one in check(path)}
    assert found == {
        **dict.fromkeys(("0012,0063", "0012,0064", "0028,0303"), "D"), "0008,0020": "Z", "0008,0201": "X",
        "0008,0080": "X",
    }  # fmt: skip
    path = Path(anonymized(tmp_path / "b", file(tmp_path / "in", IMAGE)))
    content = path.read_bytes()
    at = content.index(b"ANON^")
    path.write_bytes(content[:at] + b"Smith" + content[at + 5 :])
    assert check(path) == [Suspect("0010,0010", "PatientName", "Z", "basic")]


def test_forms_of_ours_count_only_where_the_object_says_that_it_is_de_identified(tmp_path: Path) -> None:
    path = Path(anonymized(tmp_path, file(tmp_path / "in", IMAGE)))
    path.write_bytes(path.read_bytes().replace(b"\x12\0\x62\0CS\4\0YES ", b"\x12\0\x62\0CS\4\0NO  "))
    assert {one.path for one in check(path)} >= {"0012,0062", "0010,0010", "0010,0020", "0020,000D", "0008,0018"}


def test_identities_that_were_given_and_roots_of_ones_own_are_known(tmp_path: Path) -> None:
    given = {"12345": Given("SUBJ-1", "Subject^One")}
    output = Output(str(tmp_path / "out"))
    job = Job(Plan(parse("basic")), Pseudonyms(b"k" * 32, uid_root="1.3.6.1.4.1.9999", given=given), output)
    (done,) = anonymize([str(file(tmp_path / "in"))], job)
    checker = Checker(job.plan, uid_root="1.3.6.1.4.1.9999", given=given)
    assert list(checker(done.output)) == []
    assert {one.path for one in check(done.output)} >= {"0010,0010", "0010,0020", "0020,000D"}


def test_suspicion_is_told_until_pixels_are_cleaned(tmp_path: Path) -> None:
    image = {
        **IMAGE, 0x00080060: Element("CS", "US"), 0x00280002: Element("US", "1"),
        0x00280004: Element("CS", "MONOCHROME2"),
        0x00280101: Element("US", "8"), 0x00280102: Element("US", "7"), 0x00280103: Element("US", "0"),
    }  # fmt: skip
    path = file(tmp_path / "in", {tag: image[tag] for tag in sorted(image)})
    (suspect,) = [one for one in check(path) if one.action == "quarantine"]
    assert (suspect.path, suspect.rule.partition(":")[0]) == ("", "ultrasound images usually show the patient's name")
    regions = (boxes.parse("0,0,1,1"),)
    assert not [one for one in Checker(Plan(parse("basic")), boxes=regions)(str(path)) if one.action == "quarantine"]
    assert check(anonymized(tmp_path, path, regions=regions)) == []


def test_comments_in_codestreams_are_found(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xfe\x00\x0cSmith John\xff\xda\0\2\0\0\xff\xd9"
    pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0"
    pixels += len(jpeg).to_bytes(4, "little") + jpeg + b"\xfe\xff\xdd\xe0\0\0\0\0"
    image = {tag: one for tag, one in IMAGE.items() if tag < 0x7FE00000}
    path = tmp_path / "in"
    path.write_bytes(file_meta(CT, "1.2.3.4", JPEG_BASELINE) + encode(image, EXPLICIT_VR_LITTLE_ENDIAN) + pixels)
    assert Suspect("7FE0,0010", "PixelData", "blank", "comments in codestreams") in check(path)
    assert check(anonymized(tmp_path, path)) == []


def test_directories_are_checked_record_by_record(tmp_path: Path) -> None:
    paths = [file(tmp_path / "in"), directory(tmp_path / "DICOMDIR")]
    found = {one.path: one for one in check(paths[1])}
    assert set(found) == MARKS | {
        "0002,0003", "0004,1130", "0004,1141", "0004,1220[1].0010,0010", "0004,1220[1].0010,0020",
        "0004,1220[2].0008,0020", "0004,1220[2].0008,0030", "0004,1220[2].0008,0050", "0004,1220[2].0008,1030",
        "0004,1220[2].0020,000D", "0004,1220[2].0020,0010", "0004,1220[3].0020,000E", "0004,1220[4].0004,1500",
        "0004,1220[4].0004,1511",
    }  # fmt: skip
    assert found["0004,1220[4].0004,1500"].keyword == "ReferencedFileID"
    output = Output(str(tmp_path / "out"), names=SHORT_NAMES)
    done = list(anonymize(map(str, paths), Job(Plan(parse("basic")), Pseudonyms(b"k" * 32), output)))
    assert [check(one.output) for one in done] == [[], []]
    unknown = [*ABOVE, image("1.2.3.4", {0x00041513: Element("LO", "Smith"), 0x00041514: Element("LO", "")})]
    added = {one.path for one in check(directory(tmp_path / "unknown", unknown))} - set(found)
    assert added == {"0004,1220[4].0004,1513"}
    looping = directory(tmp_path / "loop", ONE, links={3: (0, 0)})
    assert {one.path for one in check(looping)} == set(found)


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        check(tmp_path / "missing")
    content = file(tmp_path / "in").read_bytes()
    for size in (0, 100, 140, 300, len(content) - 30):
        (tmp_path / "cut").write_bytes(content[:size])
        with pytest.raises(InvalidDataSetError):
            check(tmp_path / "cut")


def test_elements_that_are_encoded_in_several_ways_are_suspect(tmp_path: Path) -> None:
    mixed = encode({0x00080000: Element("UL", "4")}, EXPLICIT_VR_LITTLE_ENDIAN)
    path = tmp_path / "in"
    meta = file_meta(CT, "1.2.3.4", EXPLICIT_VR_LITTLE_ENDIAN)
    path.write_bytes(meta + mixed + encode(IMAGE, IMPLICIT_VR_LITTLE_ENDIAN))
    assert [one.rule for one in check(path) if one.action == "quarantine"] == [SEVERAL_ENCODINGS]

"""The scorer finds nothing wrong where nothing is, and every sort of fault where it is put."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from struct import pack
from typing import NamedTuple

import pytest

from tests.deid import scorer
from tests.deid.planted import corpus, objects, peculiar, reports
from tests.deid.planted.values import Planter
from tests.deid.scoring import facts, leaks, reference, tree, validity

pydicom = pytest.importorskip("pydicom")
Dataset = pydicom.Dataset


class Folders(NamedTuple):
    """What goes in, what came out, and what was said about it."""

    source: Path
    output: Path
    report: dict[str, object]

    def kinds(self, *options: str, validate: bool = False, **more: object) -> set[str]:
        """The kinds of what is wrong."""
        return set(scorer.score(self.source, self.output, options, self.report, validate=validate, **more).kinds())

    def change(self, change: Callable[[Dataset], None], number: int = 0) -> None:
        """Spoil an output."""
        path = self.output / f"{number}.dcm"
        with pydicom.config.disable_value_validation():
            data_set = pydicom.dcmread(path)
            change(data_set)
            data_set.save_as(path, enforce_file_format=True)

    def original(self, number: int = 0) -> Dataset:
        """What the output was made of."""
        return pydicom.dcmread(self.report["files"][number]["source"])


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Two CT slices that refer to each other, an MR image, and a report on all of them."""
    built = corpus.Corpus(tmp_path_factory.mktemp("planted"))
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        study = objects.Study(Planter(9), "Winter^Rosa", "ZqaaaaaID", date(1950, 1, 2), date(2011, 3, 4))
        built.save("a.dcm", objects.ct(study, private=True))
        built.save("b.dcm", objects.ct(study))
        built.save("c.dcm", objects.mr(study), corpus.IMPLICIT)
        built.save("d.dcm", reports.report(study, reports.COMPREHENSIVE))
    return built.root


@pytest.fixture
def make(source, tmp_path) -> Callable[..., Folders]:
    """De-identified by the reference, with options."""

    def made(*options: str) -> Folders:
        warnings.simplefilter("ignore")
        return Folders(source, tmp_path, reference.folder(source, tmp_path, options))

    return made


@pytest.fixture
def good(make) -> Iterator[Folders]:
    with warnings.catch_warnings():
        yield make()


@pytest.mark.parametrize(
    "options",
    [
        (), ("retain-uids",), ("retain-full-dates",), ("retain-modified-dates",), ("retain-safe-private",),
        ("retain-device-identity", "retain-institution-identity", "retain-patient-characteristics"),
        ("clean-descriptors", "clean-graphics"),
    ],
)  # fmt: skip
def test_what_is_right_is_found_right(make, options):
    with warnings.catch_warnings():
        folders = make(*options)
    result = scorer.score(folders.source, folders.output, options, folders.report, validate=False)
    assert result.findings == [], result.text()
    assert result.files == 4
    assert result.checked > 300


def test_it_needs_the_options_that_were_used(good):
    assert {"kept", "mark"} <= good.kinds("retain-uids")
    assert {"kept", "mark"} <= good.kinds("retain-full-dates")


def delete(keyword: str) -> Callable[[Dataset], None]:
    return lambda data_set: delattr(data_set, keyword)


def put(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda data_set: setattr(data_set, keyword, value)


def add(tag: int, vr: str, value: object) -> Callable[[Dataset], None]:
    return lambda data_set: data_set.add_new(tag, vr, value)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("action", add(0x00104000, "LT", "")),  # X, but empty
        ("action", add(0x00104000, "LT", "something else")),
        ("action", delete("PatientName")),  # Z, but gone
        ("action", delete("ContentDate")),
        ("reference", put("StudyInstanceUID", "2.25.4711")),
        ("action", put("SOPInstanceUID", "2.25.0815")),  # no UID
        ("action", put("SOPInstanceUID", "2.25." + "7" * 70)),
        ("action", put("FrameOfReferenceUID", "")),
        ("reference", lambda d: setattr(d, "SeriesInstanceUID", d.StudyInstanceUID)),
        ("kept", put("KVP", "121")),
        ("kept", delete("KVP")),
        ("kept", put("Manufacturer", "acme")),
        ("kept", lambda d: d.ContributingEquipmentSequence.append(Dataset())),
        ("kept", delete("ContributingEquipmentSequence")),
        ("kept", put("PixelData", bytes(510) + b"\1\1")),
        ("kept", put("SpecificCharacterSet", "ISO_IR 100")),
        ("added", put("PatientBreedDescription", "cat")),
        ("added", lambda d: d.ContributingEquipmentSequence[0].add_new(0x00200013, "IS", "1")),
        ("mark", delete("PatientIdentityRemoved")),
        ("mark", put("DeidentificationMethod", "")),
        ("mark", delete("DeidentificationMethodCodeSequence")),
        ("mark", lambda d: setattr(d.DeidentificationMethodCodeSequence[0], "CodeValue", "113105")),
        ("mark", put("LongitudinalTemporalInformationModified", "UNMODIFIED")),
        ("meta", lambda d: setattr(d, "preamble", b"x" * 128)),
        ("meta", lambda d: setattr(d.file_meta, "SourceApplicationEntityTitle", "OURS")),
        ("meta", lambda d: setattr(d.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2.1.99")),
    ],
)  # fmt: skip
def test_wrong_actions(good, kind, change):
    good.change(change)
    assert kind in good.kinds()


def test_what_was_left_is_unchanged_and_a_leak(good):
    original = good.original()
    for keyword in ("PatientName", "StudyDate", "SOPInstanceUID", "DeviceSerialNumber", "PatientWeight"):
        good.change(put(keyword, original[keyword].value))
        result = scorer.score(good.source, good.output, (), good.report, validate=False)
        assert any(f.kind in {"unchanged", "action"} for f in result.findings), keyword
        assert any(f.kind == "leak" for f in result.findings), keyword
        good.change(put(keyword, None))


def test_leaks_in_sequences_and_private_elements(good):
    original = good.original()
    operator = original.ContributingEquipmentSequence[0].OperatorsName
    good.change(lambda d: setattr(d.ContributingEquipmentSequence[0], "OperatorsName", operator))
    assert {"unchanged", "leak"} <= good.kinds()
    good.change(lambda d: delattr(d.ContributingEquipmentSequence[0], "OperatorsName"))
    good.change(add(0x000910F7, "LO", "left"))
    assert "added" in good.kinds()
    good.change(add(0x00090010, "LO", original[0x00090010].value))
    assert good.kinds() & {"action", "unchanged"}


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("fold", [str, str.upper, str.lower])
def test_a_planted_word_is_found_in_any_spelling(good, codec, fold):
    word = fold(str(good.original(1).ReferringPhysicianName).split("^")[0])
    good.change(put("PixelData", word.encode(codec).ljust(512, b"\0")))
    assert "leak" in good.kinds()


def test_what_is_no_word_is_found_in_other_forms(good):
    original = good.original()
    day, weight = original.StudyDate, str(original.PatientWeight)
    for text in (f"{day[:4]}-{day[4:6]}-{day[6:]}", str(original.StudyInstanceUID), weight, "Rosa"):
        good.change(put("ImageType", ["ORIGINAL", text]))
        assert {"kept", "leak"} <= good.kinds(), text


def test_words_in_other_character_sets_are_found():
    removed = leaks.Removed("0010,0010", "PN", "Ωμέγα^山田太郎太郎".encode(), whole=True)
    before = tree.File(b"", tree.DataSet(), tree.DataSet(), "", b"", b"", b"")
    before.data_set.elements[0x00080005] = tree.Element(0x00080005, "CS", b"ISO_IR 192")
    comparison = scorer.Comparison("f", frozenset(), "", "", scorer.compare.Mapping(), removed=[removed])
    for output in ("山田太郎太郎".encode("utf-16-le"), "Ωμέγα".encode()):
        after = tree.File(b"", tree.DataSet(), tree.DataSet(), "", output, output, b"")
        comparison.findings.clear()
        leaks.in_file(comparison, before, after, frozenset())
        assert [finding.kind for finding in comparison.findings] == ["leak"]


def test_leaks_in_deflated_data(tmp_path, source):
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(source / "b.dcm")
        (tmp_path / "in").mkdir()
        (tmp_path / "in/a.dcm").write_bytes(corpus.part10(data_set, corpus.DEFLATED, Planter(77)))
        folders = Folders(tmp_path / "in", tmp_path / "out", reference.folder(tmp_path / "in", tmp_path / "out"))
        assert folders.kinds() == set()
        folders.change(put("ImageType", str(data_set.ReferringPhysicianName)))
    assert {"kept", "leak"} <= folders.kinds()


def test_dates_of_a_patient_are_moved_together(make):
    with warnings.catch_warnings():
        folders = make("retain-modified-dates")
    assert folders.kinds("retain-modified-dates") == set()
    moved = folders.original(1).StudyDate
    folders.change(put("StudyDate", "20010203"), 1)
    assert "dates" in folders.kinds("retain-modified-dates")
    folders.change(put("StudyDate", moved), 1)
    assert folders.kinds("retain-modified-dates") & {"unchanged", "leak"}
    folders.change(delete("StudyDate"), 1)
    assert "action" in folders.kinds("retain-modified-dates")


def test_references_that_lead_nowhere(good):
    def elsewhere(data_set: Dataset) -> None:
        data_set.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.1"

    good.change(lambda d: setattr(d.ContributingEquipmentSequence[0], "DeviceUID", "2.25.3"), 1)
    good.change(lambda d: setattr(d, "DeviceUID", d.ContributingEquipmentSequence[0].DeviceUID), 1)
    assert "reference" in good.kinds()
    good.change(lambda d: setattr(d.CurrentRequestedProcedureEvidenceSequence[0], "StudyInstanceUID", "2.25.9"), 3)
    found = scorer.score(good.source, good.output, (), good.report, validate=False).findings
    assert any(f.kind == "reference" and f.file == "d.dcm" for f in found)


def test_overlays_in_the_bits_of_pixels(tmp_path):
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        built = corpus.Corpus(tmp_path / "in")
        built.save("a.dcm", peculiar.embedded_overlay(Planter(5)))
        folders = Folders(built.root, tmp_path / "out", reference.folder(built.root, tmp_path / "out"))
        assert folders.kinds() == {"unchanged"}
        good = bytes(byte & (0xEF if number % 2 else 0xFF) for number, byte in enumerate(folders.original().PixelData))
        folders.change(put("PixelData", good))
        assert folders.kinds() == set()
        folders.change(put("PixelData", bytes(512)))
    assert folders.kinds() == {"kept"}


def test_files_that_are_missing_or_too_many(good):
    (good.output / "stray.txt").write_text("x")
    assert good.kinds() == {"stray"}
    (good.output / "stray.txt").rename(good.output / "Zqaaaaa.dcm")
    assert good.kinds() == {"stray", "leak"}
    (good.output / "Zqaaaaa.dcm").unlink()
    (good.output / "3.dcm").write_bytes(b"nonsense")
    assert good.kinds() == {"unreadable"}
    (good.output / "3.dcm").unlink()
    assert good.kinds() == {"missing"}
    held = [*good.report["files"][:3], {"source": str(good.source / "d.dcm"), "status": "quarantined", "reason": "SR"}]
    assert good._replace(report={"files": held}).kinds(may_stay_out={"d.dcm"}) == set()
    assert good._replace(report={"files": held}).kinds() == {"missing"}
    del held[3]["reason"]
    assert good._replace(report={"files": held}).kinds(may_stay_out={"d.dcm"}) == {"report"}
    assert good._replace(report={"files": held[:3]}).kinds() == {"missing"}


def test_what_is_said_leaks_nothing(good):
    good.report["files"][0]["actions"] = [{"path": "0010,0010", "was": "Zqaaaaa^A"}]
    assert "leak" in good.kinds()
    good.report["files"][0]["actions"] = []
    assert good.kinds(talk=f"{good.source}/a.dcm: Zqaaaaa is not valid") == {"leak"}
    assert good.kinds(talk=f"{good.source}/a.dcm: not valid") == set()


def test_what_changed_is_in_the_report(good):
    good.report["files"][0]["actions"] = [{"path": "0008,0012", "action": "X", "rule": "basic"}]
    assert good.kinds() == {"report"}
    good.report["files"][0]["actions"] = []
    good.report["files"][1]["actions"] = [{"path": "0008,0012", "action": "", "rule": "basic"}]
    assert good.kinds() == {"report"}


@pytest.mark.skipif(not validity.available(), reason="dciodvfy is not here")
def test_new_errors_of_dciodvfy(good):
    assert good.kinds(validate=True) <= {"valid"}
    good.change(delete("Modality"))
    found = scorer.score(good.source, good.output, (), good.report).findings
    assert any(f.kind == "valid" and "Modality" in f.detail for f in found)


def test_content_items(make):
    """With clean-structured-content each item is judged by its concept."""
    option = "clean-structured-content"
    with warnings.catch_warnings():
        folders = make(option)

    def clean(data_set: Dataset) -> None:
        """Drop every item that holds a text, a name, a date or a reference."""
        items = data_set.ContentSequence
        items[:] = [i for i in items if i.ValueType in {"CODE", "NUM"} and i.ConceptNameCodeSequence[0].CodeValue not in
                    {"121032", "121033", "C54627"}]  # fmt: skip

    folders.change(clean, 3)
    found = scorer.score(folders.source, folders.output, [option], folders.report, validate=False).findings
    gone = {finding.detail.split()[3] for finding in found}
    assert {finding.kind for finding in found} == {"kept"}
    assert "121070" in gone  # a container that the table does not name
    assert "121071" not in gone
    assert any("113701" in code or "113795" in code or code.startswith("9990") for code in gone)


def test_the_facts_are_the_whole_table():
    assert len(facts.rows()) == 657
    assert len(facts.safe_private()) >= 470
    assert facts.type_of("1.2.840.10008.5.1.4.1.1.11.1", 0, 0x00700082) == "1"
    assert facts.rule_of(0x60023000).options == {"clean-graphics": "C"}
    assert facts.rule_of(0x50042500).basic == "X"
    assert facts.rule_of(0x00080060) is None


def test_the_reader_reads_what_is_sent_as_unknown(tmp_path):
    inner = pack("<HHL", 0x0010, 0x0010, 4) + b"A^B "
    item = pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    body = pack("<HH2sHL", 0x0008, 0x1120, b"UN", 0, len(item)) + item
    head = pack("<HH2sH", 2, 0x10, b"UI", 20) + b"1.2.840.10008.1.2.1\0"
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + head + body)
    read = tree.read(tmp_path / "a.dcm")
    assert [path for path, _ in tree.walk(read.data_set)] == ["0008,1120", "0008,1120[1].0010,0010"]
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + head + body[:-1])
    with pytest.raises(tree.UnreadableError):
        tree.read(tmp_path / "a.dcm")


def test_the_command_line(good, monkeypatch, capsys):
    path = good.output.with_name("report.json")
    path.write_text(json.dumps(good.report))
    monkeypatch.setattr("sys.argv", ["scorer", str(good.source), str(good.output), str(path)])
    monkeypatch.setattr(validity, "available", lambda: False)
    assert scorer.main() == 0
    shutil.rmtree(good.output)
    assert scorer.main() == 1
    assert "missing" in capsys.readouterr().out

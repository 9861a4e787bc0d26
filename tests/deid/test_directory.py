"""DICOMDIR without identity: its tree, its offsets, the files it names, and what hostile ones get."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcmkit.dataset.elements import Element, decode, encode
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.deid import directory as module
from dcmkit.deid.batch import PRESENT, QUARANTINED, WRITTEN, Done, Job, anonymize
from dcmkit.deid.directory import NAME, RECORDS, Tree, rules_of
from dcmkit.deid.engine import DIRECTORY_SOP_CLASS, Source
from dcmkit.deid.output import SHORT_NAMES, Output, short_name
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.deid.test_engine import CT, IMAGE, file

KEY = b"k" * 32
PSEUDONYMS = Pseudonyms(KEY)
Record = dict[int, Element]
DEPTH = {"PATIENT": 0, "STUDY": 1, "SERIES": 2, "IMAGE": 3, "HANGING PROTOCOL": 0, "PRIVATE": 3, "MRDR": 4}
FILE_ID, TYPE, IN_USE, SHARED = 0x00041500, 0x00041430, 0x00041410, 0x00041504


def record(kind: str, elements: Record) -> Record:
    return {TYPE: Element("CS", kind), IN_USE: Element("US", "65535"), **elements}


def image(instance: str, elements: Record | None = None) -> Record:
    return record("IMAGE", {
        FILE_ID: Element("CS", "SMITH\\IM1"), 0x00041510: Element("UI", CT), 0x00041511: Element("UI", instance),
        0x00041512: Element("UI", EXPLICIT_VR_LITTLE_ENDIAN), 0x00200013: Element("IS", "1"), **(elements or {}),
    })  # fmt: skip


PATIENT = record("PATIENT", {0x00100010: Element("PN", "Smith^John"), 0x00100020: Element("LO", "12345")})
STUDY = record("STUDY", {
    0x00080020: Element("DA", "20200131"), 0x00080030: Element("TM", "101112"), 0x00080050: Element("SH", "ACC-77"),
    0x00081030: Element("LO", "Brain of Mr Smith"), 0x0020000D: Element("UI", "1.2"),
    0x00200010: Element("SH", "S-4711"),
})  # fmt: skip
SERIES = record("SERIES", {
    0x00080060: Element("CS", "CT"), 0x0020000E: Element("UI", "1.2.3"), 0x00200011: Element("IS", "1"),
})  # fmt: skip
ABOVE = [PATIENT, STUDY, SERIES]
ONE = [*ABOVE, image("1.2.3.4")]


def directory(
    path: Path,
    records: list[Record] = ONE,
    syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    links: dict[int, tuple[int, int]] | None = None,
    shared: tuple[int, int] | None = None,
) -> Path:
    """A DICOMDIR with these records, each below the last one that is a level higher.

    Args:
        links: the numbers of the record after one, and of the first below, where they are to be others.
        shared: a record that leads to another's file.
    """
    meta = file_meta(DIRECTORY_SOP_CLASS, "1.2.3.9", syntax)
    order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
    following, lower = _links(records)
    for number, (after, below) in (links or {}).items():
        following[number], lower[number] = after, below
    if shared:
        records = list(records)
        records[shared[0]] = {**records[shared[0]], SHARED: Element("UL", "0")}

    def top(first: int, last: int) -> bytes:
        return encode({
            0x00041130: Element("CS", "SMITHSET"), 0x00041141: Element("CS", "SMITH\\README"),
            0x00041200: Element("UL", str(first)), 0x00041202: Element("UL", str(last)), 0x00041212: Element("US", "0"),
        }, syntax)  # fmt: skip

    def item(number: int, at: dict[int, int]) -> bytes:
        numbers = {0x00041400: following, 0x00041420: lower}
        found = {tag: Element("UL", str(at.get(to.get(number, -1), 0))) for tag, to in numbers.items()}
        if shared and number == shared[0]:
            found[SHARED] = Element("UL", str(at.get(shared[1], 0)))
        content = encode(dict(sorted({**records[number], **found}.items())), syntax)
        return struct.pack(f"{order}HHL", 0xFFFE, 0xE000, len(content)) + content

    begin, at = len(meta) + len(top(0, 0)) + (8 if syntax == IMPLICIT_VR_LITTLE_ENDIAN else 12), {}
    size = 0
    for number in range(len(records)):
        at[number] = begin + size
        size += len(item(number, {}))
    roots = [number for number, one in enumerate(records) if not DEPTH[str(one[TYPE].value)]]
    head = struct.pack(f"{order}HH", 4, 0x1220)
    head += struct.pack("<L", size) if len(at) and syntax == IMPLICIT_VR_LITTLE_ENDIAN else b"SQ\0\0"
    if syntax != IMPLICIT_VR_LITTLE_ENDIAN:
        head += struct.pack(f"{order}L", size)
    content = b"".join(item(number, at) for number in range(len(records)))
    path.write_bytes(meta + top(at[roots[0]], at[roots[-1]]) + head + content)
    return path


def _links(records: list[Record]) -> tuple[dict[int, int], dict[int, int]]:
    following: dict[int, int] = {}
    lower: dict[int, int] = {}
    latest: dict[int, int] = {}
    for number, one in enumerate(records):
        depth = DEPTH[str(one[TYPE].value)]
        latest = {level: before for level, before in latest.items() if level <= depth}
        if depth in latest:
            following[latest[depth]] = number
        elif depth:
            lower[latest[depth - 1]] = number
        latest[depth] = number
    return following, lower


def run(out: Path, *paths: Path, profile: str = "basic", names: str = SHORT_NAMES, workers: int = 1) -> list[Done]:
    job = Job(Plan(parse(profile)), Pseudonyms(KEY), Output(str(out), names=names), verify=True, detailed=True)
    return list(anonymize(map(str, paths), job, workers=workers))


def written(out: Path) -> tuple[Tree, list[list[str]]]:
    """The directory there, and the File IDs in the order of the tree."""
    with Source(out / NAME) as source:
        tree = Tree(source)
        paths = [tree.known(one).text(FILE_ID).split("\\") for one in tree.records if one.names_file]
        return tree, paths


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """Two images of one series."""
    path = tmp_path / "in"
    path.mkdir()
    for number in (4, 5):
        file(path / f"im{number}", {**IMAGE, 0x00080018: Element("UI", f"1.2.3.{number}")})
    return path


SYNTAXES = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_records_name_files_as_they_are_called_now(tmp_path: Path, medium: Path, syntax: str) -> None:
    records = [*ABOVE, image("1.2.3.4"), image("1.2.3.5", {0x00080005: Element("CS", "ISO_IR 100")})]
    dicomdir = directory(medium / NAME, records, syntax)
    done = run(tmp_path / "out", dicomdir, medium / "im4", medium / "im5")
    assert [one.status for one in done] == [WRITTEN] * 3
    assert (done[-1].source, done[-1].output, done[-1].reason) == (str(dicomdir), str(tmp_path / "out" / NAME), "")
    content = (tmp_path / "out" / NAME).read_bytes()
    for word in (b"SMITH", b"Smith", b"12345", b"ACC-77", b"S-4711", b"20200131", b"1.2.3."):
        assert word not in content
    tree, paths = written(tmp_path / "out")
    assert [one.kind for one in tree.records] == ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE"]
    place = (PSEUDONYMS.patient("12345").id, *map(PSEUDONYMS.uid, ("1.2", "1.2.3", "1.2.3.4")))
    assert paths[0] == [short_name(part) for part in place]
    assert all((tmp_path / "out").joinpath(*path).is_file() for path in paths)
    header = read_file_header(tmp_path / "out" / NAME)
    assert header.sop_class_uid == DIRECTORY_SOP_CLASS
    assert header.sop_instance_uid == PSEUDONYMS.uid("1.2.3.9")
    assert header.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN
    after = decode(content[header.offset :], EXPLICIT_VR_LITTLE_ENDIAN)
    assert (after[0x00041130].value, after[0x00120062].value) == ("", "YES")
    assert 0x00041141 not in after
    patient, study, _, first, second = after[RECORDS].value
    assert isinstance(patient, dict)
    assert isinstance(study, dict)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert patient[0x00100010].value == PSEUDONYMS.patient("12345").name
    assert [study[tag].value for tag in (0x00080020, 0x00081030, 0x00200010)] == ["19000101", "", "ANONYMIZED"]
    assert first[0x00041511].value == PSEUDONYMS.uid("1.2.3.4")
    assert second[0x00080005].value == "ISO_IR 100"
    assert ("0004,1220[1].0010,0010", "Z", "basic") in done[-1].actions
    assert ("0004,1130", "Z", "directory") in done[-1].actions


def test_records_of_files_that_are_not_there_go_and_those_above_them(tmp_path: Path, medium: Path) -> None:
    other = {**PATIENT, 0x00100020: Element("LO", "777")}
    series = {**SERIES, 0x0020000E: Element("UI", "1.2.9")}
    records = [
        other, STUDY, SERIES, image("1.9"),
        PATIENT, STUDY, series, image("1.8"), SERIES, image("1.7"), image("1.2.3.4"),
        record("HANGING PROTOCOL", {FILE_ID: Element("CS", "HP"), 0x00041511: Element("UI", "1.6")}),
    ]  # fmt: skip
    done = run(tmp_path / "out", medium / "im4", directory(medium / NAME, records))
    assert (done[-1].status, done[-1].reason) == (WRITTEN, "files it named that are not in the output: 4")
    tree, paths = written(tmp_path / "out")
    assert [one.kind for one in tree.all] == ["PATIENT", "STUDY", "SERIES", "IMAGE"]
    assert len(paths) == 1


def test_a_file_is_found_where_its_patient_is_another_than_the_record_says(tmp_path: Path, medium: Path) -> None:
    records = [{**PATIENT, 0x00100020: Element("LO", "other")}, *ONE[1:]]
    run(tmp_path / "out", medium / "im4", directory(medium / NAME, records))
    _, (path,) = written(tmp_path / "out")
    assert path[0] == short_name(PSEUDONYMS.patient("12345").id)


def test_records_that_are_not_in_use_or_nobody_knows_go(tmp_path: Path, medium: Path) -> None:
    records = [*ABOVE, image("1.2.3.4", {IN_USE: Element("US", "0")}), image("1.2.3.5"),
               record("PRIVATE", {FILE_ID: Element("CS", "P"), 0x00041511: Element("UI", "1.2.3.4")})]  # fmt: skip
    run(tmp_path / "out", medium / "im4", medium / "im5", directory(medium / NAME, records))
    tree, paths = written(tmp_path / "out")
    assert [one.kind for one in tree.all] == ["PATIENT", "STUDY", "SERIES", "IMAGE"]
    assert paths[0][3] == short_name(PSEUDONYMS.uid("1.2.3.5"))


def test_what_nobody_knows_of_records_goes(tmp_path: Path, medium: Path) -> None:
    unknown = {0x00041432: Element("UI", "1.2.77"), 0x00041513: Element("LO", "Smith"), 0x00091001: Element("LO", "x")}
    done = run(tmp_path / "out", medium / "im4", directory(medium / NAME, [*ABOVE, image("1.2.3.4", unknown)]))
    assert done[-1].status == WRITTEN
    content = (tmp_path / "out" / NAME).read_bytes()
    assert b"1.2.77" not in content
    assert b"Smith" not in content
    assert {("0004,1220[4].0004,1432", "X", "directory"), ("0004,1220[4].0009,1001", "X", "basic")} <= set(
        done[-1].actions
    )


def test_a_file_that_several_records_lead_to_is_named_by_each(tmp_path: Path, medium: Path) -> None:
    pointing = record("IMAGE", {0x00200013: Element("IS", "1")})
    records = [*ABOVE, pointing, record("MRDR", {**image("1.2.3.4"), TYPE: Element("CS", "MRDR")})]
    path = directory(medium / NAME, records, links={3: (-1, -1)}, shared=(3, 4))
    done = run(tmp_path / "out", medium / "im4", path)
    assert done[-1].status == WRITTEN, done[-1].reason
    tree, paths = written(tmp_path / "out")
    assert [one.kind for one in tree.all] == ["PATIENT", "STUDY", "SERIES", "IMAGE"]
    assert (tree.records[3].shared, tree.records[3].instance) == (0, PSEUDONYMS.uid("1.2.3.4"))
    assert (tmp_path / "out").joinpath(*paths[0]).is_file()


def test_options_hold_for_records_as_well(tmp_path: Path, medium: Path) -> None:
    options = "retain-uids,retain-modified-dates,clean-descriptors"
    dicomdir = directory(medium / NAME)
    assert [one.status for one in run(tmp_path / "out", medium / "im4", dicomdir, profile=options)] == [WRITTEN] * 2
    content = (tmp_path / "out" / NAME).read_bytes()
    assert b"1.2.3.4" in content
    assert b"Brain" in content
    assert b"Smith" not in content
    assert read_file_header(tmp_path / "out" / NAME).sop_instance_uid == "1.2.3.9"
    after = decode(content[read_file_header(tmp_path / "out" / NAME).offset :], EXPLICIT_VR_LITTLE_ENDIAN)
    study = after[RECORDS].value[1]
    assert isinstance(study, dict)
    assert str(study[0x00080020].value)[:2] in ("19", "20")
    assert study[0x00080020].value not in ("19000101", "20200131")


def test_what_records_need_is_not_taken_from_them() -> None:
    plan = Plan(parse("basic"))
    rules = rules_of(plan, DIRECTORY_SOP_CLASS)
    assert {rules[tag].code for tag in (0x00080020, 0x00200010, 0x00080023)} == {"D"}
    assert rules[0x00081030].code == "Z"
    assert 0x00081030 not in rules_of(Plan(parse("clean-descriptors")), DIRECTORY_SOP_CLASS)


def test_the_same_bytes_whatever_the_order_and_a_second_run_changes_nothing(tmp_path: Path, medium: Path) -> None:
    paths = [medium / "im4", medium / "im5", directory(medium / NAME, [*ONE, image("1.2.3.5")])]
    run(tmp_path / "one", *paths)
    run(tmp_path / "two", *reversed(paths), workers=2)
    first = (tmp_path / "one" / NAME).read_bytes()
    assert first == (tmp_path / "two" / NAME).read_bytes()
    assert [one.status for one in run(tmp_path / "one", *paths)] == [PRESENT] * 3
    assert [one.status for one in run(tmp_path / "one", paths[2])] == [PRESENT]
    (failed,) = run(tmp_path / "one", directory(medium / NAME, ONE))
    assert "other content" in failed.reason
    assert (tmp_path / "one" / NAME).read_bytes() == first


def test_one_is_written_in_a_run_and_none_without_short_names(tmp_path: Path, medium: Path) -> None:
    (medium / "b").mkdir()
    first, second = directory(medium / NAME), directory(medium / "b" / NAME)
    done = run(tmp_path / "out", second, medium / "im4", first)
    assert [(one.source, one.status) for one in done[1:]] == [(str(first), WRITTEN), (str(second), QUARANTINED)]
    assert "one DICOMDIR" in done[-1].reason
    (done_1, _) = run(tmp_path / "plain", first, medium / "im4", names="uid")
    assert done_1.status == QUARANTINED
    assert "--names short" in done_1.reason
    assert not (tmp_path / "plain" / NAME).exists()


def test_a_directory_that_names_nothing_in_the_output_is_not_written(tmp_path: Path, medium: Path) -> None:
    (done,) = run(tmp_path / "out", directory(medium / NAME))
    assert (done.status, done.reason) == (QUARANTINED, "none of the files that the directory names is in the output")


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ({3: (0, 0)}, "in a circle"),
        ({3: (3, -1)}, "in a circle"),
        ({2: (1, 3)}, "in a circle"),
        ({0: (99, 1)}, "leads to no record"),
        ({3: (-1, 99)}, "leads to no record"),
    ],
)
def test_offsets_that_lead_nowhere_or_back_are_refused(
    tmp_path: Path, medium: Path, monkeypatch: pytest.MonkeyPatch, links: dict[int, tuple[int, int]], reason: str
) -> None:
    path = directory(medium / NAME, links=links)
    if reason == "leads to no record":
        good = directory(medium / "good", ONE).read_bytes()
        for tag in (b"\x04\0\0\x14UL\4\0", b"\x04\0\x20\x14UL\4\0"):
            at = good.rindex(tag) + 8
            path.write_bytes(good[:at] + b"\x77\7\7\7" + good[at + 4 :])
            _, done = run(tmp_path / "out", medium / "im4", path)
            assert reason in done.reason
        return
    _, done = run(tmp_path / "out", medium / "im4", path)
    assert done.status == QUARANTINED
    assert reason in done.reason
    assert "dcmmkdir" in done.reason


def test_any_cut_is_refused_or_followed(tmp_path: Path, medium: Path) -> None:
    content = directory(medium / NAME).read_bytes()
    run(tmp_path / "out", medium / "im4")
    cut = medium / "cut"
    for size in range(300, len(content), 7):
        cut.write_bytes(content[:size])
        (done,) = run(tmp_path / f"out{size}", cut)
        assert done.status == QUARANTINED


def test_thousands_of_records_take_time_in_proportion(
    tmp_path: Path, medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = [{**PATIENT, 0x00100020: Element("LO", f"ID-{number}")} for number in range(5000)]
    records = [one for patient in patients for one in (patient, STUDY, SERIES, image(f"1.2.5.{id(patient)}"))]
    path = directory(medium / NAME, [*records, *ONE])
    before = time.perf_counter()
    done = run(tmp_path / "out", medium / "im4", path)
    assert done[-1].status == WRITTEN
    assert time.perf_counter() - before < 30
    monkeypatch.setattr(module, "RECORDS_LIMIT", 100)
    with Source(path) as source, pytest.raises(InvalidDataSetError, match="more than 100 records"):
        Tree(source)


def test_a_deep_tree_is_followed_without_recursion(tmp_path: Path, medium: Path) -> None:
    series = [{**SERIES, 0x00200011: Element("IS", str(number))} for number in range(5000)]
    records = [*ABOVE, *series, image("1.2.3.4")]
    links = {number: (-1, number + 1) for number in range(len(records) - 1)}
    done = run(tmp_path / "out", medium / "im4", directory(medium / NAME, records, links=links))
    assert done[-1].status == WRITTEN
    tree, _ = written(tmp_path / "out")
    assert len(tree.records) == len(records)


def test_file_ids_are_never_opened(tmp_path: Path, medium: Path) -> None:
    outside = {FILE_ID: Element("CS", "..\\..\\..\\ETC\\PASSWD")}
    records = [*ABOVE, image("1.2.3.4", outside), image("..\\..", outside), image("", outside)]
    done = run(tmp_path / "out", medium / "im4", directory(medium / NAME, records))
    assert (done[-1].status, done[-1].reason) == (WRITTEN, "files it named that are not in the output: 2")
    assert b"PASSWD" not in (tmp_path / "out" / NAME).read_bytes()


def _bundled() -> Path:
    from pydicom.data import get_testdata_file

    return Path(str(get_testdata_file("DICOMDIR", download=False))).parent


@pytest.fixture(scope="module")
def file_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pydicom's file-set, de-identified."""
    out = tmp_path_factory.mktemp("file-set") / "out"
    bundled = _bundled()
    named = [path for part in ("77654033", "98892001", "98892003") for path in (bundled / part).rglob("*")]
    done = run(out, bundled / "DICOMDIR", *filter(Path.is_file, named))
    assert {one.status for one in done} == {WRITTEN}
    return out


_READ = """
from sys import argv
from pydicom.fileset import FileSet

found = FileSet(argv[1])
for instance in found:
    loaded = instance.load()
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "PatientID"):
        assert loaded[keyword].value == instance[keyword].value
print(len(found), len(found.find_values("PatientID")))
"""


def test_pydicom_reads_a_file_set_and_loads_all_of_it(file_set: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _READ, str(file_set / NAME)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (found.stdout, found.stderr) == ("31 2\n", "")


@pytest.mark.parametrize("tool", [["dciodvfy"], ["dcmdump", "-M"], ["dcdirdmp"]])
def test_other_tools_read_it(file_set: Path, tool: list[str]) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    found = subprocess.run([*tool, str(file_set / NAME)], capture_output=True, text=True, timeout=60, check=False)
    said = found.stdout + found.stderr
    assert not [line for line in said.splitlines() if line.startswith(("Error", "E:", "W:"))]
    assert found.returncode == 0


@pytest.mark.parametrize("name", ["DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-reordered"])
def test_other_forms_of_the_same_directory_become_the_same(file_set: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(file_set, out, ignore=shutil.ignore_patterns(NAME))
    (done,) = run(out, _bundled() / name)
    assert done.status == WRITTEN, done.reason
    expected, found = written(file_set), written(out)
    assert found[1] == expected[1]
    assert [one.kind for one in found[0].records] == [one.kind for one in expected[0].records]


@pytest.mark.parametrize("name", ["DICOMDIR-nooffset", "DICOMDIR-empty.dcm"])
def test_broken_and_empty_ones_are_listed_with_the_reason(file_set: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(file_set, out, ignore=shutil.ignore_patterns(NAME))
    (done,) = run(out, _bundled() / name)
    assert (done.status, (out / NAME).exists()) == (QUARANTINED, False)


def test_records_that_no_other_leads_to_are_told(file_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(file_set, out, ignore=shutil.ignore_patterns(NAME))
    (done,) = run(out, _bundled() / "DICOMDIR-nopatient")
    assert (done.status, done.reason) == (WRITTEN, "files it named in records that no other leads to: 30")

"""Files of rules: what they change, and what is said of mistakes in them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from dcmkit.dataset.dictionary import look_up, vr_of
from dcmkit.deid import profile, rules, suspicion
from dcmkit.deid.profile import Plan
from dcmkit.deid.rules import Box, Rules
from dcmkit.deid.suspicion import Facts
from dcmkit.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "anonymize-rules.toml"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"


@pytest.fixture
def read(tmp_path):
    def reading(text, **files):
        for name, content in files.items():
            (tmp_path / f"{name}.txt").write_text(content, encoding="utf-8")
        path = tmp_path / "rules.toml"
        path.write_text(text, encoding="utf-8")
        return rules.read(str(path))

    return reading


def tag(keyword):
    return look_up(keyword)[0]


# --- the example ------------------------------------------------------------------------------------------------------


def test_the_example_is_read():
    found = rules.read(str(EXAMPLE))
    assert found.tags[tag("PatientAge")].code == "X"
    assert found.tags[tag("InstitutionName")] == ("R", "anonymize-rules.toml: [tags] InstitutionName", "Hospital A")
    assert found.tags[tag("StationName")].code == "K"
    assert found.tags[tag("ProtocolName")].code == "CT"
    assert found.tags[tag("ContentDate")].code == "CD"
    assert all(found.tags[group << 16 | 0x0022].code == "X" for group in range(0x6000, 0x6020, 2))
    assert found.tags[tag("ClinicalTrialProtocolID")].code == "K"
    assert found.tags[tag("GPSLatitude")].code == "X"
    assert {vr: rule.code for vr, rule in found.vrs.items()} == {"PN": "D", "UN": "X"}
    assert {key: rule.code for key, rule in found.private["ACME SCAN 1.0"].items()} == {
        0x10: "K",
        0x1A: "CT",
        None: "X",
    }
    cleaned = found.descriptors.clean("DixonPlus Acme chest Study 12, Lung-RADS 4A Miller")
    assert cleaned == "DixonPlus chest Lung-RADS 4A"
    assert found.quarantine.passing == {"angiography", "1.2.840.113619.4.27"}
    assert found.quarantine.held == {"CR"}
    assert not found.quarantine.believe_no


def test_the_example_shows_all_that_can_be_said():
    text = EXAMPLE.read_text(encoding="utf-8")
    for word in (*rules._TABLES, *rules._DESCRIPTOR_KEYS, *rules._PIXEL_KEYS, *rules._QUARANTINE_KEYS, *rules.ACTIONS):
        assert word in text, word
    for kind in suspicion.KINDS:
        assert kind in text, kind


def test_the_example_in_a_plan():
    found = rules.read(str(EXAMPLE))
    plan = pickle.loads(pickle.dumps(Plan(profile.parse("basic,retain-safe-private"), found)))
    table = plan.table("1.2.840.10008.5.1.4.1.1.2", 0)
    assert table[tag("InstitutionName")].value == "Hospital A"
    assert table[tag("PerformingPhysicianName")].source == "anonymize-rules.toml: [vr] PN"
    assert table[tag("ReferringPhysicianName")].code == "D"
    assert plan.private("ACME SCAN 1.0", 0x0019, 0x10).code == "K"
    assert plan.private("ACME SCAN 1.0", 0x0019, 0x11).code == "X"
    assert plan.private("GEMS_PARM_01", 0x0043, 0x27).code == "K"
    assert plan.repeating(0x60020022).code == "X"
    assert suspicion.reason(Facts("1.2.840.10008.5.1.4.1.1.12.1", "XA"), plan, False) is None
    assert suspicion.reason(Facts("1.2.840.10008.5.1.4.1.1.1", "CR"), plan, False) is not None


def test_the_boxes_of_the_example():
    found = rules.read(str(EXAMPLE))
    sono = Facts(ULTRASOUND, "US", manufacturer="Acme Imaging", model="SONO 5 ", rows=768, columns=1024)
    assert found.boxes_for(sono) == [Box(0, 0, 1024, 60), Box(800, 700, 224, 68)]
    assert found.boxes_for(sono._replace(model="Sono 77")) != []
    for other in ({"model": "Sono 6"}, {"rows": 600}, {"columns": 0}, {"modality": "CT"}, {"manufacturer": "Other"}):
        assert found.boxes_for(sono._replace(**other)) == [], other
    assert found.boxes_for(sono._replace(pixels=False)) == []
    capture = Facts("1.2.840.10008.5.1.4.1.1.7", "OT", image_type="DERIVED\\SECONDARY\\SCREEN SAVE", rows=512)
    assert found.boxes_for(capture) == [Box(0, 0, 1024, 40)]


# --- rules ------------------------------------------------------------------------------------------------------------


def test_an_empty_file_changes_nothing(read):
    assert read("")._replace(descriptors=None) == Rules()._replace(descriptors=None)


@pytest.mark.parametrize("key", ["PatientAge", '"0010,1010"', '"(0010,1010)"', '"00101010"'])
def test_keys_of_tags(read, key):
    found = read(f'[tags]\n{key} = "keep"')
    assert list(found.tags) == [0x00101010]
    assert found.tags[0x00101010].source == f"rules.toml: [tags] {key.strip(chr(34))}"


def test_every_action(read):
    found = read(
        "[tags]\nPatientAge='keep'\nPatientSize='remove'\nPatientSex='empty'\nStudyID='dummy'\nDeviceUID='uid'\n"
        "StudyDate='shift'\nStudyDescription='clean'\nPatientComments={replace='none'}\n"
    )
    assert [rule.code for rule in found.tags.values()] == ["K", "X", "Z", "D", "U", "CD", "CT", "R"]


def test_repeating_groups(read):
    assert len(read("[tags]\nOverlayData = 'keep'").tags) == 16
    assert sorted(read("[tags]\n'60xx,3000' = 'keep'").tags)[-1] == 0x601E3000
    assert list(read("[tags]\n'6002,3000' = 'keep'").tags) == [0x60023000]


def test_tags_go_before_modules(read):
    found = read("[tags]\nPatientAge='keep'\n[modules]\nPatient-Study='remove'\n'clinical trial subject'='remove'")
    assert found.tags[tag("PatientAge")].code == "K"
    assert found.tags[tag("PatientWeight")].code == "X"
    assert found.tags[tag("ClinicalTrialProtocolID")].code == "D"  # type 1
    assert found.tags[tag("ClinicalTrialSiteID")].code == "Z"  # type 2


def test_modules_leave_what_makes_an_object_what_it_is(read):
    for action in ("keep", "remove", "dummy", "empty"):
        found = read(f"[modules]\nsop-common='{action}'\ngeneral-study='{action}'\ngeneral-series='{action}'")
        for keyword in (
            "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet",
            "LongitudinalTemporalInformationModified",
        ):  # fmt: skip
            assert tag(keyword) not in found.tags, (action, keyword)


def test_actions_of_modules_touch_only_what_they_fit(read):
    shifted = read("[modules]\ngeneral-study='shift'").tags
    assert {vr_of(one) for one in shifted} == {"DA", "TM"}
    cleaned = read("[modules]\ngeneral-study='clean'").tags
    assert tag("StudyDescription") in cleaned
    assert tag("StudyDate") not in cleaned


def test_every_module_can_be_named():
    assert len(rules.modules()) >= 40
    for name, attributes in rules.modules().items():
        assert attributes, name
        assert all(vr_of(one) != "UN" or one for one, _ in attributes)
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "generate_deid_modules.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_descriptors_from_files(read, tmp_path):
    found = read(
        "[descriptors]\nwords_file='words.txt'\nnames_file=['names.txt']\npatterns='trial'\n",
        words="# ours\n\nacme\n", names="Hand, Maria\n",
    )  # fmt: skip
    assert found.descriptors.clean("acme hand trial chest") == "acme chest"
    assert pickle.loads(pickle.dumps(found)).descriptors.clean("acme hand trial chest") == "acme chest"


def test_boxes_of_several_tables_add_up(read):
    found = read(
        "[[pixels]]\nmodality=['US','IVUS']\nboxes=[[0,0,9,9]]\n[[pixels]]\nmodality='U?'\nboxes=[[0,0,9,9],[1,1,1,1]]\n"
    )
    assert found.boxes_for(Facts(ULTRASOUND, "US")) == [Box(0, 0, 9, 9), Box(1, 1, 1, 1)]
    assert found.boxes_for(Facts(ULTRASOUND, "IVUS")) == [Box(0, 0, 9, 9)]
    assert found.boxes_for(Facts(ULTRASOUND, "")) == []


def test_quarantine(read):
    found = read("[quarantine]\npass=['Ultrasound','UltrasoundImageStorage','1.2.3','OPT']\nhold='MG'\nbelieve_no=true")
    assert found.quarantine.passing == {"ultrasound", ULTRASOUND, "1.2.3", "OPT"}
    assert found.quarantine.held == {"MG"}
    assert found.quarantine.believe_no


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tag]\n", "tag: no such table; did you mean tags? (there are: tags, modules, vr,"),
        ("tags = 3", "tags: is not a table (begin it with a line [tags])"),
        ("[tags]\nPatientNam = 'keep'", "[tags] PatientNam: no such attribute; did you mean PatientName?"),
        ("[tags]\nPatientName = 'keeps'", "[tags] PatientName: is not an action (there are: keep, remove, empty,"),
        ("[tags]\nPatientName = 'keeps'", 'dummy, clean, { replace = "TEXT" })'),
        ("[tags]\nPatientName = 'replace'", "[tags] PatientName: is not an action"),
        ("[tags]\nPatientName = 5", "[tags] PatientName: is not an action"),
        ("[tags]\nPatientName = {replace=5}", "[tags] PatientName: is not an action"),
        ("[tags]\nPatientName = 'shift'", "[tags] PatientName: shift is not possible here (there are: keep, remove,"),
        ("[tags]\nStudyDate = 'uid'", "[tags] StudyDate: uid is not possible here"),
        ("[tags]\nStudyDate = 'clean'", "[tags] StudyDate: clean is not possible here"),
        ("[tags]\nRows = 'remove'", "[tags] Rows: remove is not possible here (there are: keep)"),
        ("[tags]\nPixelData = 'remove'", "[tags] PixelData: remove is not possible here"),
        (
            "[tags]\nSOPInstanceUID = 'remove'",
            "[tags] SOPInstanceUID: remove is not possible here (there are: keep, uid)",
        ),
        ("[tags]\nSpecificCharacterSet = 'remove'", "SpecificCharacterSet: remove is not possible here"),
        ("[tags]\nTransferSyntaxUID = 'keep'", "TransferSyntaxUID: is not part of what is written"),
        ("[tags]\n'0008,0000' = 'keep'", "0008,0000: is not part of what is written"),
        (
            "[tags]\n'0009,1001' = 'keep'",
            "0009,1001: private attributes mean what their creator says (name its creator",
        ),
        ("[tags]\nPatientIdentityRemoved = 'keep'", "PatientIdentityRemoved: tells how the object was de-identified"),
        (
            "[tags]\nStationName = {replace='a station with a long name'}",
            "the replacement is no value of VR SH (up to 16 ",
        ),
        ("[tags]\nStationName = {replace='Größe'}", "the replacement is no value of VR SH"),
        ("[tags]\nStationName = {replace=''}", "the replacement is no value of VR SH"),
        ("[tags]\nStudyDate = {replace='2020'}", "the replacement is no value of VR DA"),
        ("[tags]\nModality = {replace='ct'}", "the replacement is no value of VR CS"),
        ("[tags]\nRows = {replace='5'}", "[tags] Rows: replace is not possible here"),
        (
            "[modules]\npatien = 'keep'",
            "[modules] patien: no such module; did you mean patient? (there are: acquisition-",
        ),
        ("[modules]\npatient = 'uid'", "[modules] patient: uid is not possible here"),
        ("[vr]\nUS = 'remove'", "[vr] US: no VR that rules can be made for"),
        ("[vr]\nUI = 'remove'", "[vr] UI: remove is not possible here (there are: keep, uid)"),
        ("[vr]\nDA = {replace='x'}", "[vr] DA: the replacement is no value of VR DA"),
        ("[private]\nA = 'keep'", '[private] A: is not a table (begin it with a line [private."A"])'),
        ("[private.A]\n1010 = 'keep'", '[private."A"] 1010: is not an element (the last two digits of the tag'),
        ("[private.A]\n10 = {replace='x'}", '[private."A"] 10: replace is not possible here'),
        ("[descriptors]\nword = 'a'", "[descriptors] word: no such key; did you mean words?"),
        ("[descriptors]\nwords = 5", "[descriptors] words: is neither a text nor a list of texts"),
        ("[descriptors]\nwords = ['']", "[descriptors] words: is neither a text nor a list of texts"),
        ("[descriptors]\npatterns = ['a', '(']", "[descriptors] patterns: entry 2 is no regular expression: missing )"),
        ("[descriptors]\npatterns = ['a*']", "[descriptors] patterns: entry 1 matches an empty text"),
        ("[descriptors]\nkeep = ['a*']", "[descriptors] keep: entry 1 matches an empty text"),
        ("[descriptors]\nnames_file = 'none.txt'", "[descriptors] names_file: "),
        ("[pixels]\nboxes = []", "pixels: is not a list of tables (begin each with a line [[pixels]])"),
        ("[[pixels]]\nboxes = [[0,0,1,1]]", "[[pixels]] 1: lacks boxes or a condition"),
        ("[[pixels]]\nmodality = 'US'", "[[pixels]] 1: lacks boxes or a condition"),
        (
            "[[pixels]]\nmodality = 'US'\nboxes = [[0,0,0,1]]",
            "[[pixels]] 1 boxes: is not a list of boxes ([[X, Y, WIDTH,",
        ),
        ("[[pixels]]\nmodality = 'US'\nboxes = [[0,0,1]]", "[[pixels]] 1 boxes: is not a list of boxes"),
        ("[[pixels]]\nmodality = 'US'\nboxes = [[0,0,1.5,1]]", "[[pixels]] 1 boxes: is not a list of boxes"),
        ("[[pixels]]\nmodality = 'US'\nboxes = [[-1,0,1,1]]", "[[pixels]] 1 boxes: is not a list of boxes"),
        ("[[pixels]]\nmodality = 'US'\nboxes = []", "[[pixels]] 1 boxes: is not a list of boxes"),
        ("[[pixels]]\nrows = 'x'\nboxes = [[0,0,1,1]]", "[[pixels]] 1 rows: is neither a whole number nor a list"),
        ("[[pixels]]\nmodel = 5\nboxes = [[0,0,1,1]]", "[[pixels]] 1 model: is neither a text nor a list of texts"),
        (
            "[[pixels]]\nsop_class = 'UltrasoundImageStorag'\nboxes = [[0,0,1,1]]",
            "[[pixels]] 1 sop_class: 'UltrasoundImag",
        ),
        (
            "[[pixels]]\nmodalit = 'US'\nboxes = [[0,0,1,1]]",
            "[[pixels]] 1 modalit: no such key; did you mean modality?",
        ),
        ("[quarantine]\nbelieve_no = 1", "[quarantine] believe_no: is neither true nor false"),
        (
            "[quarantine]\npass = 'ultrasond'",
            "[quarantine] pass: 'ultrasond' is no kind of object, SOP class or modality",
        ),
        ("[quarantine]\npass = 'ultrasond'", "; did you mean ultrasound? (kinds: burned-in-annotation,"),
        ("[quarantine]\npas = []", "[quarantine] pas: no such key; did you mean pass?"),
    ],
)
def test_mistakes_are_told_with_their_place(read, text, said):
    with pytest.raises(UsageError) as caught:
        read(text)
    message = str(caught.value)
    assert "rules.toml" in message
    assert said in message
    assert caught.value.hint


def test_what_is_no_toml(read):
    with pytest.raises(UsageError, match=r"file of rules .* is not TOML"):
        read("[tags")


def test_a_list_that_is_not_utf8(read, tmp_path):
    (tmp_path / "names.txt").write_bytes(b"M\xfcller\n")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read("[descriptors]\nnames_file = 'names.txt'")


def test_names_in_a_file_are_not_told(read):
    for text in ("names = ['Miller', 5]", "patterns = ['Miller(']", "patterns = ['(Miller)*']"):
        with pytest.raises(UsageError) as caught:
            read(f"[descriptors]\n{text}")
        assert "Miller" not in str(caught.value)

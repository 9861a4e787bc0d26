"""Which elements are shown, and the same as data sets."""

from __future__ import annotations

from pathlib import Path

import pydicom.data
import pytest

from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.dump_model import Bulk, Choice, Model, path_of, test_of
from dcmkit.dataset.elements import decode
from dcmkit.dataset.json_model import to_json
from dcmkit.errors import UsageError

test_of.__test__ = False  # type: ignore[attr-defined]
TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "rtplan.dcm", "test-SR.dcm", "MR_small_bigendian.dcm", "UN_sequence.dcm"]
)
def test_the_same_json_as_everywhere(name):
    with DumpFile(str(TEST_FILES / name)) as file:
        model = Model(file, file.nodes)
        shown = to_json(model.data_set, bulk_data=model.bulk_data)
        without = [node for node in file.nodes if node.tag not in (0x7FE00010, 0xFFFCFFFC)]
        raw = b"".join(file.data[node.offset : node.end] for node in without)
        wanted = to_json(decode(raw, "1.2.840.10008.1.2.2" if file.encoding.big_endian else "1.2.840.10008.1.2.1"))
    pixels = shown.pop("7FE00010", None)
    assert shown == wanted
    assert pixels is None or "offset=" in pixels["BulkDataURI"]


def test_long_values_stay_in_the_file_on_request():
    with DumpFile(str(TEST_FILES / "CT_small.dcm")) as file:
        model = Model(file, file.nodes, Bulk(limit=1024))
        assert (0x00431029,) in model.uris
        assert (0x00431028,) not in model.uris
        inline = Model(file, file.nodes, Bulk(pixels=True))
        assert len(inline.data_set[0x7FE00010].value) == 32768


@pytest.mark.parametrize(
    ("pattern", "tag", "fits"),
    [
        ("Patient*", 0x00100010, True),
        ("patientname", 0x00100010, True),
        ("Patient*", 0x00080060, False),
        ("0028,xxxx", 0x00280010, True),
        ("(0028,0010)", 0x00280011, False),
        ("0010,0000-0010,ffff", 0x00104000, True),
        ("StudyDate-StudyTime", 0x00080030, True),
        ("StudyDate-StudyTime", 0x00080060, False),
    ],
)
def test_patterns(pattern, tag, fits):
    assert test_of(pattern)(tag) is fits


@pytest.mark.parametrize("pattern", ["0010-zzzz", "(,)", "Patient Name", ""])
def test_bad_patterns_are_told(pattern):
    with pytest.raises(UsageError):
        test_of(pattern)


def test_paths():
    assert path_of("OtherPatientIDsSequence[0].0010,0020") == (0x00101002, 0x00100020)
    with pytest.raises(UsageError, match="not an element"):
        path_of("NoSuchThing")


def test_a_choice_keeps_what_is_around():
    with DumpFile(str(TEST_FILES / "CT_small.dcm")) as file:
        chosen = Choice((test_of("TypeOfPatientID"),)).of(file.nodes)
        assert [node.tag for node in chosen] == [0x00101002]
        assert [[child.tag for child in item.children] for item in chosen[0].children] == [[0x00100022]] * 2
        assert not [node for node in Choice(private=False).of(file.nodes) if node.tag >> 16 & 1]
        model = Model(file, chosen)
    assert list(model.data_set) == [0x00101002]
    assert [list(item) for item in model.data_set[0x00101002].value] == [[0x00100022]] * 2

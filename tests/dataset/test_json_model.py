"""The DICOM JSON model, both ways, and rows for tables."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.elements import DataSet, decode, element, encode
from dcmkit.dataset.json_model import flat, from_json, to_json
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

CHARSET, IMAGE_TYPE, MODALITY, NAME, OTHER_NAMES = 0x00080005, 0x00080008, 0x00080060, 0x00100010, 0x00101001
COMMENTS, THICKNESS, DURATION, NUMBER, ROWS = 0x00104000, 0x00180050, 0x00189073, 0x00200011, 0x00280010
TABLE, STEPS, CONTEXTS, POINTER, FLOAT = 0x00281201, 0x00400100, 0x00400440, 0x00280009, 0x00720076
UNSIGNED_LONG, SIGNED_LONG, DATE, PRIVATE = 0x00720083, 0x00720082, 0x00080020, 0x00091001


def example() -> DataSet:
    return {
        ROWS: element(ROWS, "512"),
        CHARSET: element(CHARSET, "ISO_IR 192"),
        IMAGE_TYPE: element(IMAGE_TYPE, "A\\\\C"),
        DATE: element(DATE),
        NAME: element(NAME, "Müller^Jörg=山田"),
        OTHER_NAMES: element(OTHER_NAMES, "=B\\\\C==P"),
        COMMENTS: element(COMMENTS, 'a\\b "c"'),
        THICKNESS: element(THICKNESS, "1.5\\2\\"),
        DURATION: element(DURATION, "2.5"),
        NUMBER: element(NUMBER, "-7"),
        TABLE: element(TABLE, b"\1\2"),
        STEPS: element(STEPS, [{MODALITY: element(MODALITY, "CT")}, {}]),
        CONTEXTS: element(CONTEXTS, []),
        POINTER: element(POINTER, "00181063\\0018106A"),
        FLOAT: element(FLOAT, "0.5"),
        UNSIGNED_LONG: element(UNSIGNED_LONG, "18446744073709551615\\7"),
        PRIVATE: element(PRIVATE, b""),
    }


EXPECTED = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080008": {"vr": "CS", "Value": ["A", None, "C"]},
    "00080020": {"vr": "DA"},
    "00091001": {"vr": "UN"},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg", "Ideographic": "山田"}]},
    "00101001": {"vr": "PN", "Value": [{"Ideographic": "B"}, None, {"Alphabetic": "C", "Phonetic": "P"}]},
    "00104000": {"vr": "LT", "Value": ['a\\b "c"']},
    "00180050": {"vr": "DS", "Value": [1.5, 2, None]},
    "00189073": {"vr": "FD", "Value": [2.5]},
    "00200011": {"vr": "IS", "Value": [-7]},
    "00280009": {"vr": "AT", "Value": ["00181063", "0018106A"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00281201": {"vr": "OW", "InlineBinary": "AQI="},
    "00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}, {}]},
    "00400440": {"vr": "SQ"},
    "00720076": {"vr": "FL", "Value": [0.5]},
    "00720083": {"vr": "UV", "Value": ["18446744073709551615", 7]},
}


def test_to_json():
    found = to_json(example())
    assert found == EXPECTED
    assert list(found) == sorted(found)  # PS3.18 F.2.2: ascending
    assert found["00200011"]["Value"][0].__class__ is int


def test_from_json_is_the_other_way_round():
    assert from_json(json.loads(json.dumps(EXPECTED))) == example()


def test_the_same_as_pydicom():
    from io import BytesIO

    from pydicom import dcmread

    data_set = example()
    del data_set[PRIVATE], data_set[OTHER_NAMES], data_set[THICKNESS]  # empty parts of values are "" there
    del data_set[UNSIGNED_LONG], data_set[IMAGE_TYPE]
    del data_set[CONTEXTS]  # has an empty array there, against PS3.18 F.2.5
    data = encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN)
    theirs = dcmread(BytesIO(bytes(128) + b"DICM" + data), force=True).to_json_dict()
    assert to_json(data_set) == theirs


def test_pydicom_reads_it():
    from pydicom import Dataset

    read = Dataset.from_json(to_json(example()))
    assert str(read.PatientName) == "Müller^Jörg=山田"
    assert read.SliceThickness[0] == 1.5
    assert read.ScheduledProcedureStepSequence[0].Modality == "CT"
    assert read.RedPaletteColorLookupTableData == b"\1\2"


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (THICKNESS, "1.50", 1.5), (THICKNESS, "+2", 2), (THICKNESS, "1e3", 1000.0), (THICKNESS, ".5", 0.5),
        (THICKNESS, "1,5", "1,5"), (THICKNESS, "nan", "nan"), (THICKNESS, "1_0", "1_0"), (THICKNESS, "1e999", "1e999"),
        (THICKNESS, "0.1234567890123456789", "0.1234567890123456789"), (THICKNESS, "٣", "٣"),
        (NUMBER, "007", 7), (NUMBER, "x", "x"), (NUMBER, "1" * 5000, "1" * 5000), (NUMBER, "1.0", "1.0"),
        (DURATION, "nan", "NaN"), (DURATION, "inf", "Infinity"), (DURATION, "-inf", "-Infinity"),
        (SIGNED_LONG, "-9007199254740993", "-9007199254740993"), (SIGNED_LONG, "5", 5), (ROWS, "x", "x"),
        (NAME, "a=b=c=d", {"Alphabetic": "a", "Ideographic": "b", "Phonetic": "c=d"}), (NAME, "==", None),
    ],
)  # fmt: skip
def test_values_that_are_special(tag: int, text: str, expected: Any):
    found = to_json({tag: element(tag, text)})
    assert found[f"{tag:08X}"]["Value"] == [expected]
    json.dumps(found, allow_nan=False)


def test_bulk_data_is_referred_to():
    data_set = {TABLE: element(TABLE, b"12"), STEPS: element(STEPS, [{}, {TABLE: element(TABLE, b"34")}])}
    asked = []

    def uri(path: tuple[int, ...], one: Any) -> str:
        asked.append(path)
        return "http://x/1" if len(path) == 1 else ""

    found = to_json(data_set, bulk_data=uri)
    assert asked == [(TABLE,), (STEPS, 1, TABLE)]
    assert found["00281201"] == {"vr": "OW", "BulkDataURI": "http://x/1"}
    assert found["00400100"]["Value"][1]["00281201"] == {"vr": "OW", "InlineBinary": "MzQ="}
    assert from_json(found, bulk_data=lambda uri: b"12") == data_set
    with pytest.raises(InvalidDataSetError, match="bulk data"):
        from_json(found)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ({"vr": "US", "Value": ["512"]}, "512"),
        ({"vr": "US", "Value": [512.0]}, "512"),
        ({"vr": "DS", "Value": ["1.50"]}, "1.50"),
        ({"vr": "DS", "Value": [1 / 3]}, "0.33333333333333"),
        ({"vr": "DS", "Value": [-1.23456789012e-20]}, "-1.23456789e-20"),
        ({"vr": "IS", "Value": [3.0]}, "3"),
        ({"vr": "FD", "Value": ["NaN"]}, "nan"),
        ({"vr": "FD", "Value": ["-Infinity", 1]}, "-inf\\1.0"),
        ({"vr": "AT", "Value": ["0018106a"]}, "0018106A"),
        ({"vr": "LO", "Value": [None]}, ""),
        ({"vr": "LO", "Value": []}, ""),
        ({"vr": "LO", "Value": ["a", None, ""]}, "a\\\\"),
        ({"vr": "PN", "Value": ["Doe^J"]}, "Doe^J"),
        ({"vr": "PN", "Value": [{}]}, ""),
        ({"vr": "PN", "Value": [{"Alphabetic": None, "Phonetic": "x"}]}, "==x"),
        ({"vr": "UV", "Value": ["18446744073709551615"]}, "18446744073709551615"),
        ({"vr": "OB", "InlineBinary": ""}, b""),
    ],
)
def test_what_others_write(given_value: dict[str, Any], expected: str | bytes):
    found = from_json({"00091001": given_value})[PRIVATE]
    assert found.value == expected
    if found.vr in ("DS",):
        assert len(str(found.value)) <= 16


def test_group_lengths_are_left_out():
    assert from_json({"00080000": {"vr": "UL", "Value": [4]}}) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        None, 1, "x", [], True,
        {"PatientName": {"vr": "PN"}}, {"0010001": {"vr": "PN"}}, {"0010001G": {"vr": "PN"}}, {1: {"vr": "PN"}},
        {"FFFEE000": {"vr": "UN"}},
        *(
            {"00091001": wrong}
            for wrong in (
                None, [], "x", {}, {"vr": None}, {"vr": "XX"}, {"vr": "pn"}, {"vr": ["PN"]},
                {"vr": "LO", "Value": "x"}, {"vr": "LO", "Value": None}, {"vr": "LO", "Value": [1]},
                {"vr": "LO", "Value": [True]}, {"vr": "LO", "Value": [{}]}, {"vr": "LO", "Value": [["x"]]},
                {"vr": "LO", "Value": ["\ud800"]}, {"vr": "LO", "InlineBinary": "AA=="},
                {"vr": "LO", "Value": ["x"], "InlineBinary": ""}, {"vr": "LT", "Value": ["a", "b"]},
                {"vr": "US", "Value": [-1]}, {"vr": "US", "Value": [65536]}, {"vr": "US", "Value": [1.5]},
                {"vr": "US", "Value": [True]}, {"vr": "US", "Value": ["x"]}, {"vr": "US", "Value": [1, None]},
                {"vr": "US", "Value": [float("nan")]}, {"vr": "IS", "Value": [1.5]}, {"vr": "IS", "Value": [10**4000]},
                {"vr": "FL", "Value": [1e300]}, {"vr": "FD", "Value": ["x"]}, {"vr": "FD", "Value": [10**4000]},
                {"vr": "DS", "Value": [float("inf")]}, {"vr": "UV", "Value": [2**64]},
                {"vr": "AT", "Value": ["0018"]}, {"vr": "AT", "Value": [1]}, {"vr": "AT", "Value": ["00-10010"]},
                {"vr": "PN", "Value": [1]}, {"vr": "PN", "Value": [{"Alphabetic": 1}]},
                {"vr": "PN", "Value": [{"Alphabetic": "a=b"}]}, {"vr": "PN", "Value": [{"Alphabetic": "\udfff"}]},
                {"vr": "OB", "Value": [1]}, {"vr": "OB", "InlineBinary": "A"}, {"vr": "OB", "InlineBinary": "AA=A"},
                {"vr": "OB", "InlineBinary": "Ä==="}, {"vr": "OB", "InlineBinary": 1}, {"vr": "OB", "BulkDataURI": 1},
                {"vr": "OB", "BulkDataURI": "http://x"}, {"vr": "SQ", "InlineBinary": ""},
                {"vr": "SQ", "Value": [1]}, {"vr": "SQ", "Value": [{"x": {}}]}, {"vr": "SQ", "BulkDataURI": "x"},
            )
        ),
    ],
    ids=lambda wrong: repr(wrong)[:60],
)  # fmt: skip
def test_what_is_no_data_set(wrong: Any):
    with pytest.raises(InvalidDataSetError):
        from_json(wrong)


def test_an_error_says_where():
    with pytest.raises(InvalidDataSetError, match=r"\(0028,0010\): '-1' is not a value of US") as caught:
        from_json({"00280010": {"vr": "US", "Value": [-1]}})
    assert caught.value.offending_element == ROWS


def test_nesting_has_a_limit():
    nested: dict[str, Any] = {}
    for _ in range(40):
        nested = {"00400100": {"vr": "SQ", "Value": [nested]}}
    with pytest.raises(InvalidDataSetError, match="nested"):
        from_json(nested)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["vr", "Value", "InlineBinary", "Alphabetic", "00100010", "00091001"]), inner)
    ),
    max_leaves=12,
)
VRS = st.sampled_from(["AT", "CS", "DS", "FL", "FD", "IS", "LO", "LT", "OB", "PN", "SQ", "SV", "UI", "UN", "US", "UV"])
ATTRIBUTES = JSON | st.fixed_dictionaries({"vr": VRS, "Value": JSON})


@given(st.dictionaries(st.sampled_from(["00100010", "00091001", "00400100"]), ATTRIBUTES))
def test_any_json_is_a_data_set_or_none(obj: Any):
    try:
        data_set = from_json(obj)
    except InvalidDataSetError:
        return
    again = to_json(data_set)
    assert to_json(from_json(again)) == again
    try:
        encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, charset="ISO_IR 192")
    except InvalidDataSetError:
        pass


@given(st.binary(max_size=100))
def test_what_was_decoded_survives(tail: bytes):
    head = encode(example(), EXPLICIT_VR_LITTLE_ENDIAN)
    try:
        data_set = decode(head + tail, EXPLICIT_VR_LITTLE_ENDIAN)
    except InvalidDataSetError:
        return
    assert from_json(json.loads(json.dumps(to_json(data_set)))).keys() == data_set.keys()


def test_rows():
    data_set = example()
    inner = element(STEPS, [{NAME: element(NAME, "X")}])
    data_set[STEPS] = element(STEPS, [{MODALITY: element(MODALITY, "CT"), STEPS: inner}])
    row = flat(data_set)
    assert row["PatientName"] == "Müller^Jörg=山田"
    assert row["ImageType"] == "A\\\\C"
    assert row["ScheduledProcedureStepSequence[0].Modality"] == "CT"
    assert row["ScheduledProcedureStepSequence[0].ScheduledProcedureStepSequence[0].PatientName"] == "X"
    assert row["ProtocolContextSequence"] == ""
    assert row["RedPaletteColorLookupTableData"] == "AQI="
    assert row["00091001"] == ""
    assert list(row)[:2] == ["SpecificCharacterSet", "ImageType"]

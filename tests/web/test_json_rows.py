"""Rows as DICOM JSON: the same as the model makes of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.elements import Element
from dcmkit.dataset.identifier import Field
from dcmkit.dataset.json_model import to_json
from dcmkit.web.json_rows import RowWriter


def written(fields, row, always=(), base_url="", places=()):
    return json.loads(RowWriter(fields, always, base_url, places).write(row))


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00100020, "LO", "4711"),
        (0x00100020, "LO", 'a"b\n\x00</script>'),
        (0x00100020, "LO", "Größe 日本"),
        (0x00080008, "CS", "ORIGINAL\\PRIMARY\\\\AXIAL"),
        (0x00104000, "LT", "one \\ value"),
        (0x00100010, "PN", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (0x00100010, "PN", "A^B\\C^D"),
        (0x00101020, "DS", "1.75"),
        (0x00200011, "IS", "no number"),
        (0x00280010, "US", "512"),
    ],
)
def test_text_is_written_as_the_model_has_it(tag, vr, value):
    assert written([Field(tag, vr, 0)], (value,)) == to_json({tag: Element(vr, value)})


@given(st.text(max_size=20).filter(lambda text: "\\" not in text))
def test_any_text(value):
    wanted = to_json({0x00104000: Element("LT", value)}) if value else {}
    assert written([Field(0x00104000, "LT", 0)], (value,)) == json.loads(
        json.dumps(wanted, ensure_ascii=False).encode("utf-8", "replace")
    )


def test_numbers_of_the_index():
    assert written([Field(0x00201206, "IS", 0)], (0,)) == {"00201206": {"vr": "IS", "Value": [0]}}
    assert written([Field(0x00280010, "US", 0)], (512,)) == {"00280010": {"vr": "US", "Value": [512]}}


def test_without_a_value():
    fields = [Field(0x00100020, "LO", 0), Field(0x00100030, "DA", 1), Field(0x00080056, "CS", -1, "ONLINE")]
    assert written(fields, (None, "")) == {"00080056": {"vr": "CS", "Value": ["ONLINE"]}}
    assert written(fields, (None, ""), always={0x00100030})["00100030"] == {"vr": "DA"}


def test_items():
    inner = (Field(0x00400009, "SH", 0), Field(0x00401001, "SH", 1))
    fields = [Field(0x00400275, "SQ", -1, "", inner)]
    assert written(fields, ("S1\\S2", "P1")) == {
        "00400275": {
            "vr": "SQ",
            "Value": [
                {"00400009": {"vr": "SH", "Value": ["S1"]}, "00401001": {"vr": "SH", "Value": ["P1"]}},
                {"00400009": {"vr": "SH", "Value": ["S2"]}, "00401001": {"vr": "SH"}},
            ],
        }
    }
    assert written(fields, (None, None)) == {}
    assert written(fields, (None, None), always={0x00400275}) == {"00400275": {"vr": "SQ"}}


def test_the_retrieve_url_stands_where_its_tag_does():
    fields = [Field(0x0020000D, "UI", 0), Field(0x00080050, "SH", 1)]
    found = written(fields, ('1.2"', "A"), base_url='http://x/"y', places=(0,))
    assert list(found) == ["00080050", "00081190", "0020000D"]
    assert found["00081190"]["Value"] == ['http://x/"y/studies/1.2"']


@pytest.mark.parametrize(("tag", "vr"), [(0x00100010, "PN"), (0x00080008, "CS"), (0x0020000D, "UI")])
@given(value=st.text(alphabet='aß^=\\"\n\u65e5 ', min_size=1, max_size=12))
def test_several_values_and_names_as_the_model_has_them(tag, vr, value):
    assert written([Field(tag, vr, 0)], (value,)) == to_json({tag: Element(vr, value)})

"""Paths: what a peer says never leads out of the archive."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.archive.attributes import BY_KEYWORD, Attribute
from dcmkit.archive.layout import (
    COMPONENT_LIMIT,
    DEFAULT_LAYOUT,
    Layout,
    is_safe_uid,
    safe_component,
    with_suffix,
)
from dcmkit.errors import InvalidDataSetError, UsageError

STUDY, SERIES, INSTANCE = 0x0020000D, 0x0020000E, 0x00080018
UIDS = {STUDY: "1.2.1", SERIES: "1.2.2", INSTANCE: "1.2.3"}
HOSTILE = [
    "..", ".", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\x", "a\0b", "a\nb", "1.2.3/..", "$(reboot)",
    "1..2", ".1", "1.", "1" * 65, "1.2." + "3" * 300, "1.2 3", "１.２", "1.2;rm", "1.2\n",
]  # fmt: skip


def tag(keyword: str) -> int:
    return BY_KEYWORD[keyword].tag


def test_the_default_layout():
    assert Layout(DEFAULT_LAYOUT).path(UIDS) == "1.2.1/1.2.2/1.2.3.dcm"


def test_objects_without_study_and_series_have_a_place():
    """Hanging protocols, colour palettes and others belong to no study."""
    assert Layout(DEFAULT_LAYOUT).path({INSTANCE: "1.2.3"}) == "unknown/unknown/1.2.3.dcm"


@pytest.mark.parametrize("which", [STUDY, SERIES, INSTANCE])
@pytest.mark.parametrize("uid", HOSTILE)
@pytest.mark.parametrize("template", [DEFAULT_LAYOUT, "{StudyInstanceUID}-{SeriesInstanceUID}/{SOPInstanceUID}"])
def test_what_is_not_a_uid_never_becomes_a_path(template: str, which: int, uid: str):
    with pytest.raises(InvalidDataSetError) as caught:
        Layout(template).path({**UIDS, which: uid})
    assert caught.value.offending_element == which
    assert not is_safe_uid(uid)


def test_uids_with_leading_zeros_are_seen_in_the_field_and_safe():
    assert is_safe_uid("1.02.003")
    assert is_safe_uid("1" * 64)
    assert not is_safe_uid("")


def test_a_template():
    layout = Layout("{PatientID}/{StudyDate}/{Modality}{SeriesNumber:04}/{SOPInstanceUID}.dcm")
    values = {tag("PatientID"): "A/7", tag("StudyDate"): "20240131", tag("Modality"): "MR", tag("SeriesNumber"): "12"}
    assert layout.path({**values, INSTANCE: "1.2.3"}) == "A_7/20240131/MR0012/1.2.3.dcm"


def test_missing_values():
    layout = Layout("{PatientID}/{SeriesNumber:04}/{InstanceNumber:3}-{SeriesDescription}.dcm")
    assert layout.path({}) == "unknown/0000/000-unknown.dcm"


@pytest.mark.parametrize(("value", "expected"), [("7", "0007"), ("-7", "-007"), ("x", "x"), ("12345", "12345")])
def test_numbers_are_filled_up(value: str, expected: str):
    assert Layout("n{SeriesNumber:04}").path({tag("SeriesNumber"): value}) == "n" + expected


def test_any_attribute_of_the_dictionary_may_be_used():
    def look_up(keyword: str) -> Attribute:
        return Attribute(keyword, 0x00180060, "instance", "DS")

    assert Layout("{KVP}", look_up).path({0x00180060: "120"}) == "120"


@pytest.mark.parametrize(
    "template",
    ["", "/abs/{PatientID}", "{PatientID}/../x", "./{PatientID}", "a//b", "{PatientID}/", "{Patient", "}", "{NoSuch}",
     "a\\{PatientID}", "a\0b", "{PatientID:x}", "{PatientID!r}", "{ProcedureCodeSequence_CodeValue}"],
)  # fmt: skip
def test_templates_that_cannot_be(template: str):
    with pytest.raises(UsageError, match="layout"):
        Layout(template)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("..", "_"),
        (".", "_"),
        ("", "unknown"),
        ("   ", "unknown"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"),
        ("a\0b\x1b[31mc\r\n", "a_b_[31mc__"),
        (".dcmkit", "_dcmkit"),
        ("-rf", "_rf"),
        ("end. .", "end_"),
        ("CON", "_CON"),
        ("nul.dcm", "_nul.dcm"),
        ("LPT1", "_LPT1"),
        ("COM10", "COM10"),
        ("Иванов^Пётр", "Иванов^Пётр"),
        ("王^小东", "王^小东"),
        ("gpj\u202efdp", "gpj_fdp"),
        ("a\u200bb", "a_b"),
    ],
)
def test_safe_components(text: str, expected: str):
    assert safe_component(text) == expected


def test_long_names_are_cut_and_never_collide():
    one, other = safe_component("x" * 300 + "1.dcm"), safe_component("x" * 300 + "2.dcm")
    assert one != other
    assert one.endswith(".dcm")
    assert len(one) == COMPONENT_LIMIT
    cyrillic = safe_component("Ж" * 300)
    assert COMPONENT_LIMIT - 2 <= len(cyrillic.encode()) <= COMPONENT_LIMIT
    assert cyrillic.startswith("ЖЖЖ")


@given(st.text(max_size=400))
def test_any_text_is_one_component_of_a_path_on_any_system(text: str):
    name = safe_component(text)
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name.isprintable() or not any(ord(character) < 32 for character in name)
    assert len(name.encode()) <= COMPONENT_LIMIT
    assert not name.startswith((".", "-", " "))
    assert not name.endswith((".", " "))
    assert safe_component(text) == name
    root = os.path.join(os.sep, "archive")
    assert os.path.dirname(os.path.normpath(os.path.join(root, name))) == root


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_rendered_path_stays_inside(patient: str, description: str):
    path = Layout("{PatientID}/{SeriesDescription}/{SOPInstanceUID}").path(
        {tag("PatientID"): patient, tag("SeriesDescription"): description, INSTANCE: "1.2.3"}
    )
    assert len(path.split("/")) == 3
    assert os.path.normpath(path) == path


def test_suffixes_go_before_the_extension():
    assert with_suffix("a/b.dcm", "~2") == "a/b~2.dcm"
    assert with_suffix("a.b/c", "~2") == "a.b/c~2"
    assert with_suffix("a/.dcm", "~2") == "a/.dcm~2"

"""What a data set says after lossy compression."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, Element, encode, items, text
from dcmkit.pixels import lossy
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, is_uid

BASELINE = "1.2.840.10008.1.2.4.50"


def plain() -> DataSet:
    return {
        0x00080008: Element("CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        0x00080016: Element("UI", "1.2.840.10008.5.1.4.1.1.2"),
        0x00080018: Element("UI", "1.2.3.4"),
    }


def test_uids_are_new_and_legal():
    made = {lossy.new_uid() for _ in range(200)}
    assert len(made) == 200
    assert all(is_uid(uid) and uid.startswith("2.25.") for uid in made)


def test_ratio_and_method_are_written():
    changes = lossy.compressed(plain(), ratio=12.345678, method="ISO_10918_1")
    assert text(changes, 0x00282110) == "01"
    assert text(changes, 0x00282112) == "12.35"
    assert text(changes, 0x00282114) == "ISO_10918_1"


@pytest.mark.parametrize(
    ("ratios", "methods", "expected"),
    [
        ("10", "ISO_10918_1", ("10\\2.00", "ISO_10918_1\\ISO_15444_1")),
        ("10", "", ("10\\2.00", "\\ISO_15444_1")),
        ("10\\3", "ISO_10918_1", ("10\\3\\2.00", "ISO_10918_1\\\\ISO_15444_1")),
        ("", "", ("2.00", "ISO_15444_1")),
    ],
)
def test_values_are_appended_each_to_its_like(ratios, methods, expected):
    data_set = plain() | {0x00282112: Element("DS", ratios), 0x00282114: Element("CS", methods)}
    changes = lossy.compressed(data_set, ratio=2, method="ISO_15444_1")
    assert (text(changes, 0x00282112), text(changes, 0x00282114)) == expected


def test_what_was_declared_before_is_left():
    data_set = plain() | {0x00282110: Element("CS", "01")}
    assert lossy.declared(data_set, ratio=2, method="ISO_15444_1") == {}
    assert text(lossy.declared(plain(), ratio=2, method="ISO_15444_1"), 0x00282110) == "01"


def test_another_instance_names_its_source():
    changes = lossy.derived(plain(), transfer_syntax_uid=BASELINE, details="quality 90", sop_instance_uid="2.25.7")
    assert text(changes, 0x00080018) == "2.25.7"
    assert text(changes, 0x00080008) == "DERIVED\\PRIMARY\\AXIAL"
    assert text(changes, 0x00082111) == "Lossy compression: JPEG Baseline (Process 1), quality 90"
    (source,) = items(changes, 0x00082112)
    assert text(source, 0x00081155) == "1.2.3.4"
    assert text(source, 0x00081150) == "1.2.840.10008.5.1.4.1.1.2"
    (purpose,) = items(source, 0x0040A170)
    assert text(purpose, 0x00080100) == "121320"
    assert encode(plain() | changes, EXPLICIT_VR_LITTLE_ENDIAN)


def test_without_another_uid_there_is_no_source():
    changes = lossy.derived(plain(), transfer_syntax_uid=BASELINE, details="", sop_instance_uid="")
    assert 0x00080018 not in changes
    assert 0x00082112 not in changes
    assert text(changes, 0x00080008).startswith("DERIVED")


def test_what_is_there_stays():
    data_set = plain() | {
        0x00082111: Element("ST", "Maximum intensity projection"),
        0x00082112: Element("SQ", [{0x00081155: Element("UI", "1.2.3")}]),
    }
    changes = lossy.derived(data_set, transfer_syntax_uid=BASELINE, details="", sop_instance_uid="2.25.7")
    assert text(changes, 0x00082111).startswith("Maximum intensity projection; Lossy compression")
    assert [text(item, 0x00081155) for item in items(changes, 0x00082112)] == ["1.2.3", "1.2.3.4"]


def test_a_description_that_would_be_too_long_stays_as_it_is():
    data_set = plain() | {0x00082111: Element("ST", "x" * 1020)}
    changes = lossy.derived(data_set, transfer_syntax_uid=BASELINE, details="", sop_instance_uid="2.25.7")
    assert text(changes, 0x00082111) == "x" * 1020


@pytest.mark.parametrize(
    ("before", "after"),
    [("ORIGINAL\\PRIMARY", "DERIVED\\PRIMARY"), ("", "DERIVED\\SECONDARY"), ("X", "DERIVED\\SECONDARY")],
)
def test_image_types(before, after):
    assert lossy.image_type(before) == after

"""Keywords no index key has."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dcmkit.dataset.dictionary import keyword_of, look_up, parse_tag, vm_of, vr_of


@pytest.mark.parametrize(
    ("keyword", "found"),
    [
        ("KVP", (0x00180060, "DS")),
        ("PixelSpacing", (0x00280030, "DS")),
        ("SmallestImagePixelValue", (0x00280106, "US")),
        ("NoSuchThing", None),
        ("", None),
    ],
)
def test_look_up(keyword: str, found: tuple[int, str] | None):
    assert look_up(keyword) == found


@pytest.mark.parametrize(
    ("tag", "vr", "vm", "keyword"),
    [
        (0x00100010, "PN", "1", "PatientName"),
        (0x60023000, "OB", "1", "OverlayData"),
        (0x00203110, "CS", "1-n", "SourceImageIDs"),
        (0x10100007, "US", "1-n", "ZonalMap"),
        (0x00100000, "UL", "", ""),
        (0x00110010, "LO", "", ""),
        (0x00111001, "UN", "", ""),
        (0x7FFF0001, "UN", "", ""),
    ],
)
def test_of_a_tag(tag: int, vr: str, vm: str, keyword: str):
    assert (vr_of(tag), vm_of(tag), keyword_of(tag)) == (vr, vm, keyword)


@pytest.mark.parametrize("text", ["PatientName", "0010,0010", "(0010,0010)", "00100010", " PatientName "])
def test_parse_tag(text: str):
    assert parse_tag(text) == 0x00100010


@pytest.mark.parametrize("text", ["", "patientname", "0010", "0010,001", "Nonsense"])
def test_parse_no_tag(text: str):
    assert parse_tag(text) is None


def test_the_table_is_current_and_agrees_with_pydicom():
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location("generate_dictionary", root / "tools" / "generate_dictionary.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.main(["--check"]) == 0
    from pydicom.datadict import DicomDictionary, dictionary_VR

    for tag in (tag for tag, entry in DicomDictionary.items() if entry[4] and entry[0] != "NONE"):
        assert vr_of(tag) == dictionary_VR(tag).split(" or ")[0]

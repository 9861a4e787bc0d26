"""Names and VRs as dcmdump has them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dcmkit.dataset import dump_names
from dcmkit.dataset.dump_names import implicit_vr, name_of, private_entry, shown_vr, syntax_name, uid_name


@pytest.fixture
def dictionary(tmp_path, monkeypatch):
    path = tmp_path / "own.dic"
    path.write_text(
        '# a comment\n(0029,"ACME",01)\tDS\tAcme Factor\t1\tPrivateTag\n(0010,0010)\tPN\tPatientName\t1\tX\n'
    )
    monkeypatch.setenv("DCMDICTPATH", f"{path}{dump_names.os.pathsep}{tmp_path / 'missing.dic'}")
    dump_names._private.cache_clear()
    yield
    dump_names._private.cache_clear()


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x00100020, "PatientID"),
        (0x00101000, "RETIRED_OtherPatientIDs"),
        (0x7FE00010, "PixelData"),
        (0x7F020010, "RETIRED_VariablePixelData"),
        (0x30060085, "ROIObservationLabel"),
        (0x00080000, "GenericGroupLength"),
        (0x00290010, "PrivateCreator"),
        (0x00291001, "Unknown Tag & Data"),
        (0xFFFEE00D, "ItemDelimitationItem"),
    ],
)
def test_names(tag, name):
    assert name_of(tag) == name


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x00100010, "PN"),
        (0x00280106, "xs"),
        (0x00283006, "lt"),
        (0x54001010, "ox"),
        (0x7FE00010, "OW"),
        (0x60003000, "OW"),
        (0x00209998, "??"),
        (0x00041200, "up"),
    ],
)
def test_vrs_that_implicit_vr_does_not_say(tag, vr):
    assert implicit_vr(tag) == vr


def test_offsets_have_a_vr_of_their_own():
    assert shown_vr(0x00041200, "UL") == "up"
    assert shown_vr(0x00280010, "US") == "US"


def test_uids_and_syntaxes():
    assert uid_name("1.2.840.10008.1.2") == "LittleEndianImplicit"
    assert uid_name("1.2.3") == ""
    assert syntax_name("1.2.840.10008.1.2.4.90") == "JPEG 2000 (Lossless only)"
    assert "High-Throughput" in syntax_name("1.2.840.10008.1.2.4.201")
    assert syntax_name("1.2.3") == "Unknown Transfer Syntax"


def test_private_names_come_from_dictionaries(dictionary):
    assert private_entry(0x00291001, "ACME") == ("DS", "AcmeFactor")
    assert private_entry(0x00291002, "ACME") is None
    assert private_entry(0x00291001, "OTHER") is None


def test_the_table_of_tags_is_up_to_date():
    path = Path(__file__).parent.parent.parent / "tools" / "generate_dump_tags.py"
    spec = importlib.util.spec_from_file_location("generate_dump_tags", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0

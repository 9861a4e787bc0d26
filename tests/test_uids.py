"""The table of SOP classes and transfer syntaxes, and its generator."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit import uids
from dcmkit.errors import UsageError

ROOT = Path(__file__).parent.parent
GENERATOR = ROOT / "tools" / "generate_uids.py"


def test_the_table_is_current() -> None:
    pytest.importorskip("pynetdicom")
    finished = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_a_stale_table_is_found_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pynetdicom")
    spec = importlib.util.spec_from_file_location("generate_uids", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    stale = tmp_path / "uids.py"
    current = generator.TARGET.read_text(encoding="utf-8")
    stale.write_text(current.replace('"CTImageStorage"', '"CatImageStorage"'), encoding="utf-8")
    monkeypatch.setattr(generator, "TARGET", stale)
    assert generator.main(["--check"]) == 1
    assert "CatImageStorage" in stale.read_text(encoding="utf-8")
    assert generator.main([]) == 0
    assert stale.read_text(encoding="utf-8") == current
    assert generator.main(["--check"]) == 0


def test_the_tables_fit_together() -> None:
    assert uids.STORAGE_SOP_CLASSES.items() <= uids.SOP_CLASSES.items()
    assert uids.TRANSFER_SYNTAXES.keys() == uids.TRANSFER_SYNTAX_KEYWORDS.keys()
    assert not uids.SOP_CLASSES.keys() & uids.TRANSFER_SYNTAXES.keys()
    assert set(uids.UNCOMPRESSED) < set(uids.TRANSFER_SYNTAXES)
    keywords = [*uids.SOP_CLASSES.values(), *uids.TRANSFER_SYNTAX_KEYWORDS.values()]
    assert len(set(keywords)) == len(keywords)
    for uid in (*uids.SOP_CLASSES, *uids.TRANSFER_SYNTAXES):
        assert uids.is_uid(uid)
        assert uids.name_of(uid) != uid
        assert uids.keyword_of(uid).isidentifier()


@pytest.mark.parametrize(
    ("uid", "is_storage"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True),  # CT
        ("1.2.840.10008.5.1.4.1.1.5", True),  # Nuclear Medicine, retired
        ("1.2.840.10008.5.1.4.38.1", True),  # Hanging Protocol
        ("1.2.840.10008.5.1.4.1.1.201.1", True),  # Inventory
        (uids.VERIFICATION, False),
        (uids.MEDIA_STORAGE_DIRECTORY_STORAGE, False),
        ("1.2.840.10008.1.20.1", False),  # Storage Commitment Push Model
        ("1.2.840.10008.5.1.4.1.2.2.1", False),  # Study Root FIND
    ],
)
def test_what_is_a_storage_sop_class(uid: str, is_storage: bool) -> None:
    assert uid in uids.SOP_CLASSES
    assert (uid in uids.STORAGE_SOP_CLASSES) is is_storage


def test_names_and_keywords() -> None:
    assert uids.name_of("1.2.840.10008.1.1") == "Verification"
    assert uids.keyword_of("1.2.840.10008.5.1.4.1.1.2") == "CTImageStorage"
    assert uids.name_of("1.2.840.10008.1.2.4.90") == "JPEG 2000 Image Compression (Lossless Only)"
    assert uids.keyword_of("1.2.840.10008.1.2.4.90") == "JPEG2000Lossless"
    assert uids.name_of("1.2.3") == uids.keyword_of("1.2.3") == "1.2.3"


def test_which_syntaxes_encapsulate() -> None:
    native = {uid for uid in uids.TRANSFER_SYNTAXES if not uids.is_encapsulated(uid)}
    assert native > {*uids.UNCOMPRESSED, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN}
    assert uids.is_encapsulated("1.2.840.10008.1.2.5")
    assert uids.is_encapsulated("1.2.840.10008.1.2.1.98")
    assert uids.is_encapsulated("1.2.3")


@pytest.mark.parametrize("text", ["0", "1.2", "1.2.840.10008.1.2.1", "1." + "2" * 62, "1.02"])
def test_uids(text: str) -> None:
    assert uids.is_uid(text)


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "1..2", "1.a", "1.2 ", "-1", "1.-2", "1." + "2" * 63, "１.２", "1.²", "1/2", "1.2\0"]
)
def test_not_uids(text: str) -> None:
    assert not uids.is_uid(text)


@pytest.mark.parametrize(
    "text",
    [
        "1.2.840.10008.5.1.4.1.1.2", "CTImageStorage", "ctimagestorage", "CT Image Storage", " CT image storage ",
        "CT-Image_Storage",
    ],
)  # fmt: skip
def test_resolve(text: str) -> None:
    assert uids.resolve(text) == "1.2.840.10008.5.1.4.1.1.2"


def test_every_keyword_and_current_name_resolves() -> None:
    for uid in (*uids.SOP_CLASSES, *uids.TRANSFER_SYNTAXES):
        assert uids.resolve(uids.keyword_of(uid)) == uid
        assert uids.name_of(uids.resolve(uids.name_of(uid))) == uids.name_of(uid)
    assert uids.resolve("9.8.7") == "9.8.7"
    assert uids.resolve("Ultrasound Image Storage") == "1.2.840.10008.5.1.4.1.1.6.1"


def test_resolve_suggests() -> None:
    with pytest.raises(UsageError, match="CTImgeStorage") as caught:
        uids.resolve("CTImgeStorage")
    assert "did you mean CTImageStorage" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        uids.resolve("zzzzzz")
    assert "did you mean" not in caught.value.hint


@given(st.text())
def test_any_text_resolves_or_is_a_usage_error(text: str) -> None:
    try:
        assert uids.is_uid(uids.resolve(text))
    except UsageError:
        pass

"""A de-identifier for the scorer's own tests: slow, without any finesse, and right by the scorer's rules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tests.deid.scoring import expected
from tests.deid.scoring.expected import ABSENT, DUMMY, EMPTY, KEEP, SHIFT, UID, WALK
from tests.deid.scoring.facts import METHODS, safe_private

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

DAYS = -100
_DUMMIES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "DS": "0", "IS": "0", "US": 0}


def uid(old: str) -> str:
    """A UID made of another."""
    return f"2.25.{int(hashlib.md5(old.encode()).hexdigest(), 16)}" if old else ""


def folder(source: Path, output: Path, options: Iterable[str] = ()) -> dict[str, object]:
    """De-identify the files of `source`; the report."""
    entries = []
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        target = output / f"{number}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        file(path, target, frozenset(options))
        entries.append({"source": str(path), "output": str(target), "status": "written", "actions": []})
    return {"files": entries}


def file(source: Path, target: Path, options: frozenset[str]) -> None:
    """De-identify one file."""
    from pydicom import config, dcmread
    from pydicom.dataset import Dataset

    with config.disable_value_validation():
        data_set = dcmread(source)
        _data_set(data_set, data_set.SOPClassUID, 0, options)
        data_set.PatientIdentityRemoved = "YES"
        data_set.DeidentificationMethod = "reference"
        data_set.DeidentificationMethodCodeSequence = []
        for option in sorted({"basic", *options}):
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = METHODS[option], "DCM", option
            data_set.DeidentificationMethodCodeSequence.append(item)
        times = "UNMODIFIED" if "retain-full-dates" in options else "REMOVED"
        data_set.LongitudinalTemporalInformationModified = "MODIFIED" if "retain-modified-dates" in options else times
        for tag in [tag for tag in data_set.file_meta if tag.tag not in {0x20000, 0x20001, 0x20002, 0x20010, 0x20012}]:
            del data_set.file_meta[tag.tag]
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        data_set.file_meta.ImplementationClassUID = "1.2.3.4"
        data_set.preamble = bytes(128)
        data_set.save_as(target, enforce_file_format=True)


def _data_set(data_set: Dataset, sop_class: str, parent: int, options: frozenset[str]) -> None:
    for element in list(data_set):
        if element.tag.is_private:
            block = data_set.get(element.tag & 0xFFFF0000 | element.tag.element >> 8)
            creator = block.value if block is not None else ""
            safe = (creator, element.tag.group, element.tag.element & 0xFF) in safe_private()
            if not element.tag.is_private_creator and not (safe and "retain-safe-private" in options):
                del data_set[element.tag]
            continue
        right = expected.of_standard(element.tag, element.VR, sop_class, parent, options)
        _element(data_set, element, right.outcomes, sop_class, options)
    for element in list(data_set):
        if element.tag.is_private_creator and not any(
            other.tag.group == element.tag.group and other.tag.element >> 8 == element.tag.element for other in data_set
        ):
            del data_set[element.tag]


def _element(
    data_set: Dataset, element: DataElement, outcomes: frozenset[str], sop_class: str, options: frozenset[str]
) -> None:
    if outcomes & {WALK, "structure"} and element.VR == "SQ":
        for item in element.value:
            _data_set(item, sop_class, element.tag, options)
    elif KEEP in outcomes:
        return
    elif ABSENT in outcomes:
        del data_set[element.tag]
    elif UID in outcomes:
        values = [element.value] if isinstance(element.value, str) else element.value or []
        element.value = [uid(value) for value in values]
    elif SHIFT in outcomes:
        values = [element.value] if isinstance(element.value, str) else element.value or []
        element.value = [_shifted(value) for value in values]
    elif EMPTY in outcomes:
        element.value = [] if element.VR == "SQ" else None
    elif DUMMY in outcomes:
        _dummy(element)


def _shifted(text: str) -> str:
    day = date(int(text[:4]), int(text[4:6]), int(text[6:8])) + timedelta(DAYS)
    return day.strftime("%Y%m%d") + text[8:]


def _dummy(element: DataElement) -> None:
    from pydicom.dataset import Dataset

    if element.VR == "SQ":
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "0", "99DUMMY", "dummy"
        element.value = [item]
    elif element.VR in {"OB", "OW", "UN"}:
        element.value = b"\0\1"
    else:
        element.value = _DUMMIES.get(element.VR, uid("dummy") if element.VR == "UI" else "DUMMY")

"""What to retrieve, from options and lists, as `Want`s.

A list is a CSV with a header of DICOM keywords or tags, JSON lines or an array of the DICOM JSON model (what
`findscu --format jsonl` and `json` write), or one study UID on each line. In a row the lowest UID counts, with those
above it; a row without a UID is looked up by its accession number, patient ID, study ID and study date, or failing
these by the patient's name and birth date.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dcmkit.dataset.dictionary import keyword_of, parse_tag
from dcmkit.dataset.elements import DataSet, Element, element, text
from dcmkit.errors import DcmkitError, InputError, UsageError
from dcmkit.services.models import IMAGE, PATIENT, QUERY_RETRIEVE_LEVEL, SERIES, STUDY, UNIQUE_KEYS
from dcmkit.services.retrieve_plan import Want
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ACCESSION_NUMBER, PATIENT_ID, ISSUER_OF_PATIENT_ID = 0x00080050, 0x00100020, 0x00100021
STUDY_ID, STUDY_DATE = 0x00200010, 0x00080020
PATIENT_NAME, PATIENT_BIRTH_DATE = 0x00100010, 0x00100030
_MATCHING = (ACCESSION_NUMBER, PATIENT_ID, ISSUER_OF_PATIENT_ID, STUDY_ID, STUDY_DATE)
_OF_A_PERSON = (PATIENT_NAME, PATIENT_BIRTH_DATE)
_ENOUGH = (ACCESSION_NUMBER, PATIENT_ID, STUDY_ID)
_UID_LEVELS = (IMAGE, SERIES, STUDY)


def by_options(
    studies: Sequence[str],
    series: Sequence[str],
    instances: Sequence[str],
    accessions: Sequence[str],
    patients: Sequence[str],
) -> Iterator[Want]:
    """The wants of `--study`, `--series`, `--instance`, `--accession` and `--patient`.

    Series with one `--study` are of that study, instances with one `--series` of that series.

    Raises:
        UsageError: what should be a UID is none, or it is not clear what belongs to what.
    """
    for name, uids in (("--study", studies), ("--series", series), ("--instance", instances)):
        for uid in uids:
            _require_uid(name, uid)
    if (series or instances) and len(studies) > 1:
        raise UsageError("series or instances of several studies", hint="give one --study with them, or none")
    if instances and len(series) > 1:
        raise UsageError("instances of several series", hint="give one --series with them, or none")
    of_study = _keys(STUDY, studies[0]) if studies and (series or instances) else {}
    of_series = {**of_study, **_keys(SERIES, series[0])} if series and instances else of_study
    if instances:
        for uid in instances:
            yield Want(f"instance {uid}", {**of_series, **_keys(IMAGE, uid)})
    elif series:
        for uid in series:
            yield Want(f"series {uid}", {**of_study, **_keys(SERIES, uid)})
    else:
        for uid in studies:
            yield Want(f"study {uid}", _keys(STUDY, uid))
    for number in accessions:
        keys = {ACCESSION_NUMBER: element(ACCESSION_NUMBER, _exact("--accession", number))}
        yield Want(f"accession {number}", {**keys, **_level(STUDY)})
    for number in patients:
        yield Want(f"patient {number}", {PATIENT_ID: element(PATIENT_ID, _exact("--patient", number))})


def _exact(option: str, value: str) -> str:
    if not value.strip() or value[0] in "-+":
        raise UsageError(f"option {option} needs a value, not {value!r}", hint=_models(option))
    return value


def _require_uid(option: str, uid: str) -> None:
    if not is_uid(uid):
        raise UsageError(f"option {option}: {uid!r} is not a UID", hint=_models(option))


def _models(option: str) -> str:
    return {"--study": "the study root model is -S", "--patient": "the patient root model is -P"}.get(option, "")


def _keys(level: str, value: str) -> DataSet:
    tag = UNIQUE_KEYS[level]
    return {**_level(level), tag: element(tag, value)}


def _level(level: str) -> DataSet:
    return {QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, level)}


# --- lists -------------------------------------------------------------------------------------------------------


def read_list(path: str, base: DataSet, on_bad: Callable[[DcmkitError], None]) -> list[Want]:
    """The wants of a list.

    Args:
        path: a file, or `-` for stdin.
        base: keys that hold for every row; a level among them says what plain UIDs are.
        on_bad: called for each row that says nothing, or nonsense.

    Raises:
        InputError: it cannot be read, is no list, or an empty one.
    """
    content = _read(path)
    name = "stdin" if path == "-" else path
    first = content.lstrip()[:1]
    rows: Iterable[tuple[str, DataSet | DcmkitError]]
    if first == "{":
        rows = _json_lines(content, name)
    elif first == "[":
        rows = _json_array(content, name)
    else:
        rows = _plain(content, name, text(base, QUERY_RETRIEVE_LEVEL) or STUDY) or _csv(content, name)
    wants = []
    seen: set[str] = set()
    bad = False
    for label, row in rows:
        try:
            if isinstance(row, DcmkitError):
                raise row
            keys = {**base, **_wanted(row, label)}
        except InputError as error:
            bad = True
            on_bad(error)
            continue
        same = repr(sorted((tag, found.value) for tag, found in keys.items()))
        if same not in seen:
            seen.add(same)
            wants.append(Want(label, keys))
    if not wants and not bad:
        raise InputError(f"{name}: the list is empty")
    return wants


def _read(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        raise InputError(f"list {path} cannot be read: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what spreadsheets write


def _wanted(row: DataSet, label: str) -> DataSet:
    """What of a row says which objects are meant."""
    for level in _UID_LEVELS:
        if text(row, UNIQUE_KEYS[level]):
            tags = [UNIQUE_KEYS[name] for name in (PATIENT, STUDY, SERIES, IMAGE) if text(row, UNIQUE_KEYS[name])]
            for tag in tags:
                if tag != PATIENT_ID and not all(is_uid(uid) for uid in text(row, tag).split("\\")):
                    raise InputError(f"{label}: {keyword_of(tag)} {text(row, tag)!r} is not a UID")
            return {**{tag: row[tag] for tag in tags}, **_level(level)}
    keys = {tag: row[tag] for tag in _MATCHING if text(row, tag)}
    if not any(tag in keys for tag in _ENOUGH):
        keys.update({tag: row[tag] for tag in _OF_A_PERSON if text(row, tag)})
    if not keys:
        raise InputError(
            f"{label}: nothing in it says what to retrieve",
            hint="columns are named StudyInstanceUID, AccessionNumber, PatientID, ...",
        )
    return keys if set(keys) <= {PATIENT_ID, ISSUER_OF_PATIENT_ID} else {**keys, **_level(STUDY)}


def _plain(content: str, name: str, level: str) -> list[tuple[str, DataSet | DcmkitError]]:
    """A UID on each line; nothing where it is something else."""
    rows: list[tuple[str, DataSet | DcmkitError]] = []
    for number, line in enumerate(content.splitlines(), 1):
        word = line.strip().strip('"')
        if not word or word.startswith("#"):
            continue
        if not is_uid(word) or "." not in word:
            return []
        rows.append((f"line {number} of {name} ({level.lower()} {word})", _keys(level, word)))
    return rows


def _csv(content: str, name: str) -> Iterator[tuple[str, DataSet | DcmkitError]]:
    import csv

    header_line = next((line for line in content.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(content.splitlines(), delimiter=delimiter)
    header = next((row for row in reader if any(cell.strip() for cell in row)), [])
    tags = [parse_tag(cell) for cell in header]
    if not any(tag is not None for tag in tags):
        raise InputError(
            f"{name}: neither a CSV whose header names DICOM keywords, nor JSON, nor UIDs",
            hint="the header is like StudyInstanceUID,AccessionNumber,PatientID",
        )
    for row in reader:
        found = {
            tag: Element(element(tag).vr, cell.strip())
            for tag, cell in zip(tags, row, strict=False)
            if tag is not None and cell.strip() and isinstance(element(tag).value, str)
        }
        if any(cell.strip() for cell in row):
            yield f"line {reader.line_num} of {name}", found


def _json_lines(content: str, name: str) -> Iterator[tuple[str, DataSet | DcmkitError]]:
    import json

    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            label = f"line {number} of {name}"
            try:
                item = json.loads(line)
            except (ValueError, RecursionError):
                yield label, InputError(f"{label}: not JSON")
            else:
                yield label, _data_set(item, label)


def _json_array(content: str, name: str) -> Iterator[tuple[str, DataSet | DcmkitError]]:
    import json

    try:
        items = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"{name}: not JSON") from None
    for number, item in enumerate(items, 1):
        label = f"item {number} of {name}"
        yield label, _data_set(item, label)


def _data_set(item: Any, label: str) -> DataSet | DcmkitError:
    """The texts of an object of the DICOM JSON model (PS3.18 F.2), or of one with keywords and plain values."""
    if not isinstance(item, dict):
        return InputError(f"{label}: not an object of the DICOM JSON model")
    found: DataSet = {}
    for name, value in item.items():
        tag = parse_tag(name)
        if tag is None:
            continue
        values = value.get("Value", []) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        texts = [_text(part) for part in values] if isinstance(values, list) else []
        if any(texts) and isinstance(element(tag).value, str):
            found[tag] = Element(element(tag).vr, "\\".join(texts))
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):  # PN
        return str(value.get("Alphabetic") or "")
    return "" if value is None or isinstance(value, list) else str(value)

"""Lists of identities: those that are given beforehand, and the list of what became what.

Both are CSV with a header line. A list that was written can be given again. It undoes the de-identification, so only
its owner may read it; no error quotes what is in one.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence

from dcmkit.deid.pseudonyms import Given, Record
from dcmkit.errors import InputError, OutputError, UsageError

FORMS = ("csv", "midi-b")
"""One file of everything; or two, `patid_mapping.csv` and `uid_mapping.csv`, as the scorer of the MIDI-B challenge
reads them."""

OLD, NEW, KIND, NAME, SHIFT = "id_old", "id_new", "kind", "name_new", "shift_days"
PATIENT, ACCESSION, UID = "patient", "accession", "uid"

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_SIZE_LIMIT = 1 << 28
_ID_LENGTH, _NAME_LENGTH = 64, 194
"""Characters of an LO, and of a PN of three groups (PS3.5 6.2)."""
_SHIFT_LIMIT = 36525


def read(path: str) -> dict[str, Given]:
    """The identities given in a file, by old Patient ID.

    It has the columns `id_old` and `id_new`, may have `name_new` and `shift_days` (days, negative for the past), and
    `kind`: rows of another kind than `patient` are passed over, and so are other columns. Commas, semicolons or tabs
    part them.

    Raises:
        InputError: the file cannot be read.
        UsageError: it is no such list; with the line.
    """
    found: dict[str, Given] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        if (row.get(KIND) or PATIENT).lower() != PATIENT:
            continue
        old, given = row.get(OLD, ""), _given(path, line, row)
        if not old:
            raise _wrong(path, line, f"{OLD} is empty")
        if found.setdefault(old, given) != given:
            raise _wrong(path, line, f"the {OLD} of line {lines[old]} again, with something else")
        lines.setdefault(old, line)
    return found


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values by column."""
    try:
        with open(path, "rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"the map {path} cannot be read: {error.strerror or error}") from None
    if len(content) > _SIZE_LIMIT:
        raise UsageError(f"the map {path} is larger than {_SIZE_LIMIT} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(path, content.count(b"\n", 0, error.start) + 1, "this is no UTF-8") from None
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    try:
        for values in reader:
            if not columns:
                columns = _columns(path, values)
            elif any(values):
                if len(values) > len(columns):
                    raise _wrong(path, reader.line_num, f"{len(values)} values for {len(columns)} columns")
                yield reader.line_num, dict(zip(columns, map(str.strip, values), strict=False))
    except csv.Error as error:
        raise _wrong(path, reader.line_num, str(error)) from None
    if not columns:
        raise _wrong(path, 1, "the file is empty")


def _columns(path: str, header: Iterable[str]) -> list[str]:
    columns = [name.strip().lower() for name in header]
    for name in (OLD, NEW):
        if columns.count(name) != 1:
            raise _wrong(path, 1, f"the header line needs one column {name}")
    return columns


def _given(path: str, line: int, row: dict[str, str]) -> Given:
    new, name, shift = row.get(NEW, ""), row.get(NAME, ""), row.get(SHIFT, "")
    if not new:
        raise _wrong(path, line, f"{NEW} is empty")
    for column, value, longest in ((NEW, new, _ID_LENGTH), (NAME, name, _NAME_LENGTH)):
        if len(value) > longest:
            raise _wrong(path, line, f"{column} is longer than {longest} characters")
        if "\\" in value or not value.isprintable():
            raise _wrong(path, line, f"{column} has a backslash or a control character")
    if not shift:
        return Given(new, name)
    try:
        days = int(shift) if len(shift) < 10 else 0
    except ValueError:
        days = 0
    if not 0 < abs(days) <= _SHIFT_LIMIT:
        raise _wrong(path, line, f"{SHIFT} must be a whole number of days up to {_SHIFT_LIMIT}, and not 0")
    return Given(new, name, days)


def _wrong(path: str, line: int, what: str) -> UsageError:
    hint = f"a CSV file with the columns {OLD},{NEW} and, if wanted, {NAME},{SHIFT}"
    return UsageError(f"the map {path}, line {line}: {what}", hint=hint)


def write(path: str, record: Record, form: str = FORMS[0]) -> list[str]:
    """Write what became what, each file whole or not at all, in place of one of that name.

    Args:
        path: for `csv` the file. For `midi-b` a directory, made if it is not there, for `patid_mapping.csv` and
            `uid_mapping.csv`; or a name `X.csv`, which makes them `X_patid_mapping.csv` and `X_uid_mapping.csv`.
        record: of all workers together. A NUL in an identity becomes a blank: one that is no Patient ID may have some.
        form: one of `FORMS`.

    Returns:
        The files written.

    Raises:
        OutputError: it cannot be written.
    """
    patients = [
        [old.replace("\0", " ").strip(), new.id, PATIENT, new.name, str(new.shift)]
        for old, new in sorted(record.patients.items())
    ]
    uids = [[old, new, UID, "", ""] for old, new in sorted(record.uids.items())]
    if form == "midi-b":
        first, last = _pair(path)
        _write(first, [[OLD, NEW], *(row[:2] for row in patients)])
        _write(last, [[OLD, NEW], *(row[:2] for row in uids)])
        return [first, last]
    accessions = [[old, new, ACCESSION, "", ""] for old, new in sorted(record.accessions.items())]
    _write(path, [[OLD, NEW, KIND, NAME, SHIFT], *patients, *accessions, *uids])
    return [path]


def _pair(path: str) -> tuple[str, str]:
    names = "patid_mapping.csv", "uid_mapping.csv"
    stem, extension = os.path.splitext(path)
    if extension.lower() == ".csv" and not os.path.isdir(path):
        return f"{stem}_{names[0]}", f"{stem}_{names[1]}"
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise _output_error(path, error) from None
    return os.path.join(path, names[0]), os.path.join(path, names[1])


def _write(path: str, rows: Iterable[Sequence[str]]) -> None:
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.part")
    try:
        try:
            os.unlink(temporary)  # of a run that was ended
        except FileNotFoundError:
            pass
        fd = os.open(temporary, _CREATE, 0o600)
        try:
            with open(fd, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
                file.flush()
                os.fsync(fd)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise _output_error(path, error) from None


def _output_error(path: str, error: OSError) -> OutputError:
    return OutputError(f"the map {path} cannot be written: {error.strerror or error}")

"""Write the tables of de-identification below src/dcmkit/deid from the facts of the standard.

Usage: python tools/generate_deid_tables.py [--check] [FOLDER...]

The folders hold the facts: `ps315_e1.tsv` (PS3.15 Table E.1-1), `safe_private.tsv` (Table E.3.10-1) and
`clean_struct_codes.tsv` (Table E.3.4-1), tab separated as the standard has them; and the modules of PS3.3 as highdicom
has them: `sop_class_iod_map.json`, `iod_module_map.json`, `module_attribute_map.json`. Tables whose facts are not there
are left alone. With --check nothing is written; the exit code is 1 when a table is stale or not of the form below.
`types.txt` takes `e1.txt` as it is after the run. What is written:

- `e1.txt`: tag, VR (`--` where it varies), action of the Basic Profile, and a letter or `.` for each option column.
- `safe_private.txt`: group, low byte of the element, VR (`--` unknown), private creator.
- `structured.txt`: value type, code value, action of the Basic Profile, a letter or `.` for each option column, coding
  scheme designator.
- `types.txt`: of each module its attributes with types other than 3, within a sequence as `sequence/attribute`; then,
  after `=`, SOP classes and the numbers of their modules. Only attributes whose action depends on the type.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src" / "dcmkit" / "deid"
EDITION = "2026d"

_VR = r"(?:[A-Z]{2}|--)"
_ACTION = r"(?:X|Z|D|U|X/Z|X/D|Z/D|X/Z/D|X/Z/U\*)"
_TYPED = r"(?:[0-9A-F]{8}/)?[0-9A-F]{8}:[12]C?"
FORMS = {
    "e1.txt": rf"[0-9A-Fgx]{{4}}[0-9A-Fex]{{4}} {_VR} {_ACTION} [KC.]{{10}}",
    "safe_private.txt": rf"[0-9A-F]{{4}} [0-9A-F]{{2}} {_VR} \S.*",
    "structured.txt": rf"[A-Z]+ \S+ {_ACTION} [KC.]{{7}} \S.*",
    "types.txt": rf"\d+(?: {_TYPED})+|= [0-9.]+(?: [0-9.]+)* =(?: \d+)*",
}
ROWS = {"e1.txt": 657, "safe_private.txt": 479, "structured.txt": 214}

RETIRED = {
    "1.2.840.10008.5.1.1.29": "secondary-capture-image",
    "1.2.840.10008.5.1.1.30": "secondary-capture-image",
    "1.2.840.10008.5.1.4.1.1.3": "ultrasound-multi-frame-image",
    "1.2.840.10008.5.1.4.1.1.5": "nuclear-medicine-image",
    "1.2.840.10008.5.1.4.1.1.6": "ultrasound-image",
    "1.2.840.10008.5.1.4.1.1.9.1": "general-ecg",
    "1.2.840.10008.5.1.4.1.1.12.3": "x-ray-angiographic-image",
    "1.2.840.10008.5.1.4.1.1.77.1": "vl-photographic-image",
    "1.2.840.10008.5.1.4.1.1.77.2": "vl-photographic-image",
    "1.2.840.10008.5.1.4.1.1.88.1": "basic-text-sr",
    "1.2.840.10008.5.1.4.1.1.88.3": "enhanced-sr",
    "1.2.840.10008.5.1.4.1.1.88.4": "comprehensive-sr",
    "1.2.840.10008.5.1.4.34.1": "rt-beams-delivery-instruction",
}
"""Retired SOP classes, and the IOD that followed theirs."""

DIRECTORY = ("1.2.840.10008.1.3.10", "DirectoryRecordSequence")
DIRECTORY_TYPES = {
    "PatientName": "2",
    "PatientID": "1",
    "StudyDate": "1",
    "StudyTime": "1",
    "StudyDescription": "2",
    "StudyID": "1",
    "AccessionNumber": "2",
    "ContentDate": "1",
    "ContentTime": "1",
    "PresentationCreationDate": "1",
    "PresentationCreationTime": "1",
    "StructureSetDate": "2",
    "StructureSetTime": "2",
    "RTPlanDate": "2",
    "RTPlanTime": "2",
    "TreatmentDate": "2",
    "TreatmentTime": "2",
    "ContentCreatorName": "2",
}
"""Types of the keys in directory records (PS3.3 F.5); of several records' the strictest."""


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a tab-separated file with a line of headings, comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    names = lines[0].split("\t")
    return [dict(zip(names, (field.strip() for field in line.split("\t")), strict=False)) for line in lines[1:]]


def _marks(row: dict[str, str], columns: list[str]) -> str:
    return "".join(row.get(column) or "." for column in columns)


def e1(folder: Callable[[str], Path]) -> list[str]:
    """Table E.1-1. Option columns in the order of the standard, which is that of `profile.OPTIONS`' columns."""
    found = []
    for row in _rows(folder("ps315_e1.tsv")):
        columns = list(row)[3:13]
        tag = "ggggeeee" if "odd" in row["tag"] else row["tag"].replace(",", "")
        vr = (row["vr"] or "--").split(" or ")[0]
        found.append(f"{tag} {vr} {row['basic']} {_marks(row, columns)}")
    return sorted(found)


def safe_private(folder: Callable[[str], Path]) -> list[str]:
    """Table E.3.10-1."""
    found = []
    for row in _rows(folder("safe_private.tsv")):
        group, element = row["tag"].split(",")
        found.append(f"{group} {element[2:]} {(row['vr'] or '--').split('/')[0]} {row['private_creator']}")
    return sorted(found)


def structured(folder: Callable[[str], Path]) -> list[str]:
    """Table E.3.4-1."""
    found = []
    for row in _rows(folder("clean_struct_codes.tsv")):
        columns = [name for name in row if name.endswith("Opt.")]
        found.append(
            f"{row['Value Type']} {row['Code Value']} {row['Basic Prof.']} {_marks(row, columns)} "
            f"{row['Coding Scheme Designator']}"
        )
    return sorted(found)


def types(folder: Callable[[str], Path]) -> list[str]:
    """Types of attributes by module, and modules by SOP class (PS3.3), of what `e1.txt` needs to know."""
    from dcmkit.dataset.dictionary import look_up

    def tag(keyword: str) -> str:
        found = look_up(keyword)
        assert found is not None, keyword
        return f"{found[0]:08X}"

    wanted = {line[:8] for line in (TARGET / "e1.txt").read_text(encoding="ascii").splitlines() if _typed(line)}
    modules = json.loads(folder("module_attribute_map.json").read_text(encoding="utf-8"))
    entries: dict[str, str] = {}
    for name, attributes in modules.items():
        found = set()
        for attribute in attributes:
            if attribute["type"] in ("1", "1C", "2", "2C") and tag(attribute["keyword"]) in wanted:
                parent = f"{tag(attribute['path'][-1])}/" if attribute["path"] else ""
                found.add(f"{parent}{tag(attribute['keyword'])}:{attribute['type']}")
        if found:
            entries[name] = " ".join(sorted(found))
    uid, sequence = DIRECTORY
    entries["directory"] = " ".join(sorted(f"{tag(sequence)}/{tag(k)}:{v}" for k, v in DIRECTORY_TYPES.items()))
    numbers = {entry: number for number, entry in enumerate(sorted(set(entries.values())))}
    iods = {name: [module["key"] for module in used] for name, used in _json(folder("iod_module_map.json")).items()}
    iods["basic-directory"] = ["directory"]
    classes = {**RETIRED, **_json(folder("sop_class_iod_map.json")), uid: "basic-directory"}
    users: dict[str, list[str]] = defaultdict(list)
    for sop_class, iod in sorted(classes.items()):
        used = sorted({numbers[entries[module]] for module in iods[iod] if module in entries})
        users[" ".join(map(str, used))].append(sop_class)
    lines = [f"{number} {entry}" for entry, number in numbers.items()]
    return lines + [f"= {' '.join(uids)} = {used}".rstrip() for used, uids in users.items()]


def _json(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _typed(line: str) -> bool:
    """Whether what becomes of the attribute of a line of `e1.txt` depends on its type."""
    _, _, action, marks = line.split()
    return action not in ("D", "U") or "C" in marks


TABLES = {"e1.txt": e1, "safe_private.txt": safe_private, "structured.txt": structured, "types.txt": types}
FACTS = {
    "e1.txt": ["ps315_e1.tsv"],
    "safe_private.txt": ["safe_private.tsv"],
    "structured.txt": ["clean_struct_codes.tsv"],
    "types.txt": ["sop_class_iod_map.json", "iod_module_map.json", "module_attribute_map.json"],
}


def faults(name: str, lines: list[str]) -> list[str]:
    """What is wrong with the form of a table: lines, order, count."""
    found = [f"line {number}" for number, line in enumerate(lines, 1) if not re.fullmatch(FORMS[name], line)]
    if name in ROWS and len(lines) != ROWS[name]:
        found.append(f"{len(lines)} rows, not {ROWS[name]}")
    if name in ROWS and any(first >= second for first, second in pairwise(lines)):
        found.append("not sorted, or a row twice")
    if name == "types.txt":
        modules = [line for line in lines if not line.startswith("=")]
        used = {int(number) for line in lines[len(modules) :] for number in line.rpartition("=")[2].split()}
        if [int(line.split()[0]) for line in modules] != list(range(len(modules))):
            found.append("modules not numbered from 0")
        if used - set(range(len(modules))):
            found.append("a module that is not there")
    return found


def main(arguments: list[str]) -> int:
    """Write or check; see the module's docstring."""
    check = "--check" in arguments
    folders = [Path(argument) for argument in arguments if argument != "--check"]
    bad = 0
    for name, generate in TABLES.items():
        there = {fact: path / fact for path in folders for fact in FACTS[name] if (path / fact).is_file()}
        target = TARGET / name
        lines = target.read_text(encoding="ascii").splitlines() if target.exists() else []
        if len(there) == len(FACTS[name]):
            wanted = generate(there.__getitem__)
            if check and wanted != lines:
                print(f"{target} is stale: run python tools/generate_deid_tables.py FOLDER...", file=sys.stderr)
                bad += 1
            lines = wanted
            if not check:
                target.write_text("\n".join(lines) + "\n", encoding="ascii")
        for fault in faults(name, lines):
            print(f"{target}: {fault}", file=sys.stderr)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

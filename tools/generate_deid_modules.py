"""Write src/dcmkit/deid/modules.txt: the attributes of modules that a file of rules may name.

    python tools/generate_deid_modules.py FOLDER
    python tools/generate_deid_modules.py --check

The folder holds the facts of PS3.3: `module_attribute_map.json`, as highdicom has it in `_standard`. Each line is the
name of a module and, by tag, the attributes at its top level, with the type where it is 1, 2 or 2C. `--check` needs no
facts: it looks at the form.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from dcmkit.dataset.dictionary import keyword_of, look_up

TARGET = Path(__file__).resolve().parent.parent / "src" / "dcmkit" / "deid" / "modules.txt"
_MODULES = """
    acquisition-context approval clinical-trial-series clinical-trial-study clinical-trial-subject
    common-instance-reference contrast-bolus device encapsulated-document enhanced-contrast-bolus
    enhanced-general-equipment frame-of-reference general-acquisition general-equipment general-image general-reference
    general-series general-study imaging-service-request intervention patient patient-demographic patient-identification
    patient-medical patient-relationship patient-study performed-procedure-step-information requested-procedure
    rt-general-plan rt-general-treatment-record sc-equipment slide-label sop-common specimen sr-document-general
    structure-set visit-admission visit-identification visit-status vl-photographic-equipment
    vl-photographic-geolocation
"""
MODULES = _MODULES.split()
"""Those that say something of people, places, devices and times."""
LINE = re.compile(r"[a-z][a-z0-9-]+(?: [0-9A-F]{8}(?::(?:1|2|2C))?)+")


def lines(folder: Path) -> list[str]:
    """What the file should hold."""
    known = json.loads((folder / "module_attribute_map.json").read_text(encoding="utf-8"))
    found = []
    for name in sorted(MODULES):
        entries = set()
        for attribute in known[name]:
            entry = look_up(attribute["keyword"])
            if entry is not None and not attribute["path"]:
                kind = attribute["type"]
                entries.add(f"{entry[0]:08X}" + (f":{kind}" if kind in ("1", "2", "2C") else ""))
        found.append(" ".join((name, *sorted(entries))))
    return found


def faults(found: list[str]) -> list[str]:
    """What is wrong with the form."""
    wrong = [f"not of the form of a module: {line[:60]}" for line in found if not LINE.fullmatch(line)]
    if [line.split(" ")[0] for line in found] != sorted(MODULES):
        wrong.append("not the modules that are wanted, in order")
    for line in found:
        name, *entries = line.split(" ")
        if entries != sorted(set(entries)):
            wrong.append(f"{name}: not in order")
        wrong += [f"{name}: no such attribute: {one}" for one in entries if not keyword_of(int(one[:8], 16))]
    return wrong


def main(arguments: list[str]) -> int:
    """Write, or check."""
    if arguments == ["--check"]:
        wrong = faults(TARGET.read_text(encoding="ascii").splitlines())
        print("\n".join(wrong), end="\n" if wrong else "")
        return 1 if wrong else 0
    if len(arguments) != 1:
        print(__doc__)
        return 2
    TARGET.write_text("\n".join(lines(Path(arguments[0]))) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

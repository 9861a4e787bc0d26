"""Write src/dcmkit/dataset/dictionary.txt, the data dictionary of PS3.6, from pydicom's.

Usage: python tools/generate_dictionary.py [--check]

One line for each element: tag (`x` in the places that repeat), VR, VM, keyword. With --check nothing is written; the
exit code is 1 when the table is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src" / "dcmkit" / "dataset" / "dictionary.txt"


def generate() -> str:
    """The whole table, sorted by tag."""
    from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

    lines = []
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items():
        if keyword and vr != "NONE":  # items and delimiters
            lines.append(f"{tag:08X} {vr.split(' or ')[0]} {vm.split(' or ')[0]} {keyword}")
    for mask, (vr, vm, _, _, keyword) in RepeatersDictionary.items():
        lines.append(f"{mask.upper().replace('X', 'x')} {vr.split(' or ')[0]} {vm.split(' or ')[0]} {keyword}")
    return "\n".join(sorted(lines)) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check; see the module's docstring."""
    wanted = generate()
    if TARGET.exists() and TARGET.read_text(encoding="ascii") == wanted:
        return 0
    if "--check" in arguments:
        print(f"{TARGET} is stale: run python tools/generate_dictionary.py", file=sys.stderr)
        return 1
    TARGET.write_text(wanted, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

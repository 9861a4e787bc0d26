"""Write src/dcmkit/dataset/dump_tags.txt: what a dump says of elements beside what the data dictionary holds.

Usage: python tools/generate_dump_tags.py [--check]

A line of a kind, then tags in hexadecimal: the retired elements, and those whose VR depends on other elements. With
--check nothing is written; the exit code is 1 when the table is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src" / "dcmkit" / "dataset" / "dump_tags.txt"

LATER = frozenset((
    0x00380004, 0x00701807, 0x00701808, 0x30040010, 0x30040012, 0x30060085, 0x30060088, 0x3008002B, 0x30100090,
))  # fmt: skip
"""Retired after the edition that dcmdump 3.6.7 knows, so it prints them without the prefix."""


def generate() -> str:
    """The whole table."""
    from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

    entries = {f"{tag:08X}": entry for tag, entry in DicomDictionary.items() if tag not in LATER}
    entries |= {mask.upper().replace("X", "x"): entry for mask, entry in RepeatersDictionary.items()}
    retired = sorted(tag for tag, entry in entries.items() if entry[3] == "Retired")
    numbers = sorted(tag for tag, entry in entries.items() if entry[0] == "US or SS")
    tables = sorted(tag for tag, entry in entries.items() if "OW" in entry[0] and "US" in entry[0])
    return f"RETIRED {' '.join(retired)}\nUS/SS {' '.join(numbers)}\nUS/OW {' '.join(tables)}\n"


def main(arguments: list[str]) -> int:
    """Write or check; see the module's docstring."""
    wanted = generate()
    if TARGET.exists() and TARGET.read_text(encoding="ascii") == wanted:
        return 0
    if "--check" in arguments:
        print(f"{TARGET} is stale: run python tools/generate_dump_tags.py", file=sys.stderr)
        return 1
    TARGET.write_text(wanted, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Make the scorer's own facts of the tables of PS3.15 Annex E and of the types of PS3.3.

    python tests/deid/make_facts.py REFERENCE STANDARD

REFERENCE holds the tables as tab-separated text (ps315_e1.tsv, safe_private.tsv, clean_struct_codes.tsv), STANDARD the
modules of PS3.3 as JSON (iod_module_map.json, module_attribute_map.json, sop_class_iod_map.json). The scorer must not
believe what the tool believes, so nothing here is shared with it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent / "facts"
COLUMNS = {
    "rtn_safe_priv": "retain-safe-private",
    "rtn_uids": "retain-uids",
    "rtn_dev_id": "retain-device-identity",
    "rtn_inst_id": "retain-institution-identity",
    "rtn_pat_chars": "retain-patient-characteristics",
    "rtn_long_full": "retain-full-dates",
    "rtn_long_modif": "retain-modified-dates",
    "clean_desc": "clean-descriptors",
    "clean_struct": "clean-structured-content",
    "clean_graph": "clean-graphics",
}
STRUCTURED = {
    "Rtn. UIDs Opt.": "retain-uids",
    "Rtn. Dev. Id. Opt.": "retain-device-identity",
    "Rtn. Inst. Id. Opt.": "retain-institution-identity",
    "Rtn. Pat. Chars. Opt.": "retain-patient-characteristics",
    "Rtn. Long. Full Dates Opt.": "retain-full-dates",
    "Rtn. Long. Modif. Dates Opt.": "retain-modified-dates",
    "Clean Desc. Opt.": "clean-descriptors",
}
STRICTER = {"1": 0, "1C": 1, "2": 2, "2C": 3, "3": 4}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table whose first line is a comment."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()[1:], delimiter="\t"))


def codes(row: dict[str, str], columns: dict[str, str]) -> str:
    """What the options do, as `option=code` separated by blanks."""
    return " ".join(f"{option}={row[column]}" for column, option in columns.items() if row.get(column))


def attributes(reference: Path) -> list[str]:
    """Table E.1-1: tag, VR, Basic Profile, options."""
    lines = []
    for row in rows(reference / "ps315_e1.tsv"):
        tag = row["tag"].split()[0].replace("gggg", "private").split(",")
        tag_text = "private" if tag[0] == "private" else ",".join(tag)
        lines.append(
            "\t".join((tag_text, row["vr"].split()[0] if row["vr"] else "", row["basic"], codes(row, COLUMNS)))
        )
    return sorted(lines)


def safe_private(reference: Path) -> list[str]:
    """Table E.3.10-1: creator, group, low byte of the element, VR."""
    found = rows(reference / "safe_private.tsv")
    return sorted({"\t".join((r["private_creator"], r["tag"][:4], r["tag"][-2:], r["vr"])) for r in found})


def structured(reference: Path) -> list[str]:
    """Table E.3.4-1: coding scheme, code, value type, Basic Profile, options."""
    found = rows(reference / "clean_struct_codes.tsv")
    return sorted(
        "\t".join(
            (r["Coding Scheme Designator"], r["Code Value"], r["Value Type"], r["Basic Prof."], codes(r, STRUCTURED))
        )
        for r in found
    )


def types(reference: Path, standard: Path) -> list[str]:
    """Types but 3 where they decide something: tag, parent's keyword, type, SOP classes by their place in line one."""
    table = rows(reference / "ps315_e1.tsv")
    tag_of = {row["keyword"]: row["tag"] for row in table if row["keyword"] and row["basic"] not in {"D", "U"}}
    iods, modules, classes = (
        json.loads((standard / f"{name}.json").read_text())
        for name in ("iod_module_map", "module_attribute_map", "sop_class_iod_map")
    )
    of_iod: dict[str, dict[tuple[str, str], str]] = {}
    for iod in set(classes.values()):
        strictest = of_iod.setdefault(iod, {})
        for module in iods.get(iod, ()):
            for attribute in modules.get(module["key"], ()):
                if attribute["keyword"] in tag_of:
                    key = tag_of[attribute["keyword"]], (attribute["path"] or [""])[-1]
                    strictest[key] = min(strictest.get(key, "3"), attribute["type"], key=STRICTER.__getitem__)
    order = sorted(classes, key=lambda uid: [int(part) for part in uid.split(".")])
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, sop_class in enumerate(order):
        for (tag, parent), kind in of_iod[classes[sop_class]].items():
            if kind != "3":
                groups[tag, parent, kind].append(place)
    lines = sorted("\t".join((tag, parent, kind, ranges(places))) for (tag, parent, kind), places in groups.items())
    return [" ".join(uid.removeprefix("1.2.840.10008.") for uid in order), *lines]


def ranges(places: list[int]) -> str:
    """Numbers that rise, as `0-3 5`."""
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return " ".join(f"{first}-{last}" if last > first else str(first) for first, last in found)


def main() -> None:
    """Write all four."""
    reference, standard = map(Path, sys.argv[1:3])
    HERE.mkdir(exist_ok=True)
    for name, lines in {
        "e1": attributes(reference),
        "safe_private": safe_private(reference),
        "structured": structured(reference),
        "types": types(reference, standard),
    }.items():
        (HERE / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

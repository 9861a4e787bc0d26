"""Score a de-identified folder against the folder it was made of, without a line of the tool that made it.

    python -m tests.deid.scorer INPUT OUTPUT REPORT [OPTION ...]

Pairs files by the tool's report. Says what leaked, what was done wrongly, what should have changed and did not or
should have stayed and did not, which references broke, whether the file says rightly what was done to it, and which
errors dciodvfy finds that were not there before.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deid.scoring import compare, leaks, marks, tree, validity
from tests.deid.scoring.compare import Comparison, Finding
from tests.deid.scoring.tokens import tokens

WRITTEN = frozenset({"written", "present"})


@dataclass
class Score:
    """What was found.

    Attributes:
        checked: elements compared.
        stayed_out: names of the files that were not written, and the reason the tool gives.
    """

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    checked: int = 0
    stayed_out: dict[str, str] = field(default_factory=dict)

    def kinds(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(Counter(finding.kind for finding in self.findings))

    def text(self, most: int = 60) -> str:
        """To be read."""
        head = f"{self.files} files, {self.checked} elements, {len(self.stayed_out)} stayed out: {self.kinds()}"
        return "\n".join([head, *map(str, self.findings[:most])])


def score(
    source: Path,
    output: Path,
    options: Iterable[str],
    report: Mapping[str, object],
    *,
    may_stay_out: Iterable[str] = (),
    talk: str = "",
    validate: bool = True,
) -> Score:
    """Compare every file of `source` with what `report` says it became.

    Args:
        options: of the profile, without `basic`.
        report: the tool's, as read from JSON.
        may_stay_out: names, relative to `source`, of files that may be quarantined.
        talk: what the tool printed; no planted word may be in it, names of files aside.
    """
    result = Score()
    chosen = frozenset(options) - {"basic"}
    mapping = compare.Mapping()
    actions: dict[str, list[dict[str, str]]] = {}
    pairs, told = _pairs(source, output, report, result, frozenset(may_stay_out), actions)
    planted = _planted(source)
    done: list[Comparison] = []
    for name, target in pairs.items():
        comparison = _one(source / name, target, name, chosen, mapping, planted)
        if comparison is not None:
            done.append(comparison)
            _told(comparison, actions[name])
            result.files += 1
            result.checked += comparison.checked
    result.findings += compare.every(done)
    _whole(result, output, set(pairs.values()), mapping, chosen)
    _talk(result, source, told, talk)
    if validate and validity.available():
        both = [(source / name, target) for name, target in pairs.items() if target.is_file()]
        for (path, _), errors in zip(both, validity.new_errors(both), strict=True):
            name = path.relative_to(source).as_posix()
            result.findings += [Finding("valid", name, "", error) for error in errors]
    return result


def _pairs(
    source: Path,
    output: Path,
    report: Mapping[str, object],
    result: Score,
    may_stay_out: frozenset[str],
    actions: dict[str, list[dict[str, str]]],
) -> tuple[dict[str, Path], str]:
    """Output by the input's name, and all that the report says beside the names of the inputs."""
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    pairs: dict[str, Path] = {}
    told = []
    for entry in report["files"]:  # type: ignore[attr-defined]
        name = _name(Path(entry["source"]), source, names)
        told.append(json.dumps({key: value for key, value in entry.items() if key != "source"}))
        if name is None:
            result.findings.append(Finding("report", str(entry["source"]), "", "is no file of the input"))
        elif entry["status"] in WRITTEN:
            actions[name] = entry.get("actions", [])
            target = Path(entry["output"])
            pairs[name] = target if target.is_absolute() and target.is_file() else _below(output, target)
        else:
            result.stayed_out[name] = f"{entry['status']}: {entry.get('reason')}"
            if not entry.get("reason"):
                result.findings.append(Finding("report", name, "", f"{entry['status']} without a reason"))
    for name in sorted(names - pairs.keys()):
        if name not in may_stay_out:
            reason = result.stayed_out.get(name, "is not in the report")
            result.findings.append(Finding("missing", name, "", reason))
    return pairs, "\n".join(told)


def _told(comparison: Comparison, actions: list[dict[str, str]]) -> None:
    """The report has an action for whatever changed, or for a sequence around it, and says by which rule."""
    told = {entry["path"] for entry in actions}
    for path in comparison.changed:
        parts = path.split(".")
        around = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        if actions and not any(one in told or one.rpartition("[")[0] in told for one in around):
            comparison.wrong("report", path, "changed, and the report says nothing of it")
    if nameless := [entry["path"] for entry in actions if not (entry.get("action") and entry.get("rule"))]:
        comparison.wrong("report", nameless[0], "an action without its code or its rule")


def _below(output: Path, target: Path) -> Path:
    return next((path for path in (output / target, target) if path.is_file()), output / target)


def _name(path: Path, source: Path, names: set[str]) -> str | None:
    for root in (source, source.resolve()):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix() if path.as_posix() in names else None


_input = functools.lru_cache(1000)(tree.read)
"""Inputs are scored against many outputs."""


@functools.lru_cache(4)
def _planted(source: Path) -> frozenset[bytes]:
    """All words that the inputs hold, and their names."""
    found: set[bytes] = set()
    for path in source.rglob("*"):
        found |= tokens(path.name.encode())
        if path.is_file():
            found |= tokens(path.read_bytes())
            with contextlib.suppress(tree.UnreadableError, ArithmeticError, ValueError, zlib.error):
                found |= tokens(_input(path).inflated)
    return frozenset(found)


def _one(
    source: Path, target: Path, name: str, options: frozenset[str], mapping: compare.Mapping, planted: frozenset[bytes]
) -> Comparison | None:
    try:
        before = _input(source)
    except (tree.UnreadableError, ArithmeticError, ValueError):
        return None  # the tool reads what the scorer does not; then only the planted words are looked for
    sop_class, patient = before.data_set.text(0x00080016), compare.patient_of(before.data_set)
    comparison = Comparison(name, options, sop_class or before.meta.text(0x00020002), patient, mapping)
    if not target.is_file():
        comparison.wrong("missing", "", "the report names an output that is not there")
        return comparison
    try:
        after = tree.read(target)
    except (tree.UnreadableError, ArithmeticError, ValueError) as error:
        comparison.wrong("unreadable", "", str(error))
        return comparison
    comparison.data_sets(before.data_set, after.data_set)
    own = before.data_set.text(0x00080018)
    if "retain-uids" not in options and own and own == before.meta.text(0x00020003):
        comparison.uid(before.meta.text(0x00020003), after.meta.text(0x00020003), "0002,0003")
    marks.meta(comparison, before, after)
    marks.marks(comparison, before, after)
    leaks.in_file(comparison, before, after, planted)
    return comparison


def _whole(result: Score, output: Path, targets: set[Path], mapping: compare.Mapping, options: frozenset[str]) -> None:
    """What holds for the output as a whole: nothing else lies there, names of files, one shift for each patient."""
    resolved = {target.resolve() for target in targets}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        lock = path.name.startswith(".") and path.is_file() and not path.stat().st_size
        if path.is_file() and path.resolve() not in resolved and not lock:
            result.findings.append(Finding("stray", name, "", "the report does not name it"))
        if found := tokens(name.encode()):
            result.findings.append(Finding("leak", name, "", f"{found} is in the name"))
    if "retain-modified-dates" in options:
        for patient, shifts in mapping.shifts.items():
            if patient and (len(shifts) != 1 or 0 in shifts):
                where = ", ".join(f"{days} days in {place}" for days, place in list(shifts.items())[:4])
                result.findings.append(Finding("dates", "", "", f"patient {patient}: {where}"))


def _talk(result: Score, source: Path, told: str, talk: str) -> None:
    for what, text in (("report", told), ("talk", talk.replace(str(source), ""))):
        for path in source.rglob("*"):
            text = text.replace(path.relative_to(source).as_posix(), "").replace(path.name, "")
        if found := tokens(text.encode()):
            result.findings.append(Finding("leak", what, "", f"{sorted(found)[:5]}"))


def main() -> int:
    """From the command line."""
    source, output, report, *options = sys.argv[1:]
    result = score(Path(source), Path(output), options, json.loads(Path(report).read_text()))
    print(result.text(10_000))
    return bool(result.findings)


if __name__ == "__main__":
    raise SystemExit(main())

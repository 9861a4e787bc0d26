"""What `dcmkit anonymize` does: the job from the options, the files, and what is said of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcmkit.cli.output import Progress, emit, say
from dcmkit.cli.report import ReportError, ReportFile
from dcmkit.dataset.files import find_files
from dcmkit.deid import keys, mapping, profile
from dcmkit.deid.batch import FAILED, PRESENT, QUARANTINED, WRITTEN, Done, Job, anonymize
from dcmkit.deid.output import Claim, Output
from dcmkit.deid.profile import Plan
from dcmkit.deid.pseudonyms import Pseudonyms, Record
from dcmkit.deid.tables import EDITION
from dcmkit.errors import DcmkitError, ExitCode, NoInputError, OutputDirectoryError, UsageError
from dcmkit.logs import get_logger
from dcmkit.settings import usable_cores

if TYPE_CHECKING:
    from dcmkit.deid.boxes import Box
    from dcmkit.deid.rules import Rules

log = get_logger("anonymize")

VERIFIED_BY_DEFAULT = 1000
"""Files up to which outputs are searched unless it is said otherwise."""
_WORTH_A_PROCESS = 16
"""Files that must be there for each worker process."""


def keygen(path: str) -> ExitCode:
    """Write a new key."""
    keys.create(path)
    say(f"{path} is written: keep it secret, and keep it, if the same pseudonyms are ever wanted again")
    return ExitCode.DONE


def list_profile(form: str) -> ExitCode:
    """Show what there is."""
    rows = [{"name": profile.BASIC, "code": profile.BASIC_CODE[0], "meaning": profile.BASIC_CODE[1],
             "edition": f"PS3.15 {EDITION}"}]  # fmt: skip
    rows += [
        {"name": one.name, "code": one.code_value, "meaning": one.meaning, "edition": f"PS3.15 {EDITION}"}
        for one in profile.OPTIONS.values()
    ]
    emit(rows, ("name", "code", "meaning", "edition"), form)
    return ExitCode.DONE


def check(given: Mapping[str, Any], options: Sequence[str]) -> ExitCode:
    """Tell what could identify somebody, and write nothing."""
    from dcmkit.cli import checking

    return checking.run(given, options, _rules(given["rules"]), _boxes(given["blank"]))


def run(given: Mapping[str, Any], options: Sequence[str]) -> ExitCode:
    """De-identify what was named.

    Raises:
        UsageError, InputError, OutputError: nothing can be done at all.
    """
    if not given["paths"]:
        raise NoInputError("no files to anonymize", hint="name files or directories")
    if not given["output"]:
        raise UsageError("where to? --output is missing", hint="say -o DIRECTORY, or -o FILE for a single file")
    _require_apart(given["paths"], given["output"])
    tally = Tally()
    single = len(given["paths"]) == 1 and not os.path.isdir(given["paths"][0])
    as_file = single and not (os.path.isdir(given["output"]) or given["output"].endswith(("/", os.sep)))
    output = Output(given["output"].rstrip("/") or "/", names=given["names"], single=as_file)
    rules = _rules(given["rules"])
    chosen = profile.parse(",".join([given["profile"], *options]))
    pseudonyms = _pseudonyms(given, output, as_file)
    paths = [path for path in find_files(
        given["paths"], tally.unreadable, recurse=given["recurse"], pattern=given["scan_pattern"], directories=True
    ) if not _is_within(path, given["output"], as_file)]  # fmt: skip
    if not paths and not tally.failed:
        raise NoInputError("no files to anonymize: the directories are empty")
    verify = len(paths) <= VERIFIED_BY_DEFAULT if given["verify"] is None else given["verify"]
    boxes = _boxes(given["blank"])
    job = Job(Plan(chosen, rules), pseudonyms, output, rules, boxes, verify, bool(given["report"]))
    if not as_file:
        output.make(output.path)
    report = Report(given["report"], job)
    workers = min(given["jobs"] or usable_cores(), len(paths) // _WORTH_A_PROCESS if not given["jobs"] else len(paths))
    try:
        with Progress("anonymizing", objects=len(paths)) as progress:
            for done in anonymize(paths, job, workers=max(1, workers)):
                tally.add(done)
                report.add(done)
                progress.advance()
    finally:
        report.close(tally)
        if given["map_out"]:
            mapping.write(given["map_out"], _of_ids(pseudonyms.record), given["map_format"])
    return tally.exit_code()


def _of_ids(record: Record) -> Record:
    """Without patients who had no Patient ID, for whom other attributes stood (`Anonymizer.patient`)."""
    patients = {old: patient for old, patient in record.patients.items() if old and "\0" not in old}
    return record._replace(patients=patients)


def _require_apart(paths: Sequence[str], output: str) -> None:
    """Outputs among the inputs would be taken for inputs by the next run, and the other way round."""
    root = os.path.realpath(output)
    for path in paths:
        real = os.path.realpath(path)
        if os.path.isdir(real) and (real == root or real.startswith(root + os.sep)):
            raise UsageError(f"{path} lies in the output directory", hint="choose another OUT")


def _is_within(path: str, output: str, as_file: bool) -> bool:
    """Whether an input lies in the output directory, which may itself be below an input directory."""
    if as_file:
        return False
    root = os.path.realpath(output)
    return os.path.realpath(path).startswith(root + os.sep)


def _pseudonyms(given: Mapping[str, Any], output: Output, as_file: bool) -> Pseudonyms:
    known = mapping.read(given["map_file"]) if given["map_file"] else None
    if given["key"]:
        key = keys.read(given["key"])
    else:
        if not as_file and _holds_files(output.path):
            raise UsageError(
                f"{output.path} holds files, and without --key this run gives all patients and UIDs other pseudonyms",
                hint="make a key with dcmkit anonymize keygen FILE and say --key FILE, or choose an empty OUT",
            )
        key = keys.ephemeral()
        log.info("no --key: the pseudonyms of this run cannot be made again")
    return Pseudonyms(key, uid_root=given["uid_root"], given=known, recording=bool(given["map_out"]))


def _holds_files(path: str) -> bool:
    try:
        with os.scandir(path) as found:
            return any(not entry.name.startswith(".dcmkit-") for entry in found)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputDirectoryError(f"{path} cannot be used: {error.strerror or error}") from None


def _rules(path: str) -> Rules | None:
    if not path:
        return None
    from dcmkit.deid import rules

    return rules.read(path)


def _boxes(texts: Sequence[str]) -> tuple[Box, ...]:
    if not texts:
        return ()
    from dcmkit.deid import boxes

    return tuple(boxes.parse(text) for text in texts)


class Tally:
    """Counts what became of the files, and tells on stderr what was not written."""

    def __init__(self) -> None:
        self.by_status: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()

    @property
    def failed(self) -> int:
        """Files that were not written."""
        return self.by_status[QUARANTINED] + self.by_status[FAILED]

    def unreadable(self, path: str, error: DcmkitError) -> None:
        """A file that could not be found."""
        self.by_status[FAILED] += 1
        say(f"{path}: {error}")

    def add(self, done: Done) -> None:
        """A file."""
        self.by_status[done.status] += 1
        self.actions.update(dict(done.counts))
        if done.status == QUARANTINED:
            say(f"{done.source}: not written: {done.reason}")
        elif done.status == FAILED:
            say(f"{done.source}: {done.reason}")
        elif done.reason:
            say(f"{done.output}: {done.reason}")
        for finding in done.findings:
            log.info("%s: %s", done.output, finding)

    def exit_code(self) -> ExitCode:
        """All, some or none."""
        log.info("%s", ", ".join(f"{count} {status}" for status, count in sorted(self.by_status.items())))
        if not self.failed:
            return ExitCode.DONE
        done = self.by_status[WRITTEN] + self.by_status[PRESENT]
        return ExitCode.PARTLY_DONE if done else ExitCode.NOTHING_DONE


class Report:
    """What was done with each file and by which rule; readable by its owner only, for it names the inputs."""

    def __init__(self, path: str, job: Job) -> None:
        self._path, self._text, self._output = path, path.endswith(".txt"), job.output
        self._file = ReportFile(path, private=True)
        self._claims: dict[str, list[tuple[str, str, Claim]]] = {}
        self._first = True
        head = {"edition": EDITION, "profile": ["basic", *job.plan.profile.options], "verified": job.verify}
        if self._text:
            self._file.write_text(f"PS3.15 {EDITION}, {job.plan.profile}\n")
        else:
            self._file.write_text(json.dumps(head)[:-1] + ', "files": [')

    def add(self, done: Done) -> None:
        """A file."""
        if not self._file:
            return
        if done.claim is not None:
            self._claims.setdefault(done.claim.name, []).append((done.source, done.output, done.claim))
        if self._text:
            self._file.write_text("\n" + "\n".join(_lines(done)) + "\n")
            return
        row = {
            "source": done.source, "output": done.output, "status": done.status, "reason": done.reason,
            "sop_instance_uid": done.sop_instance_uid,
            "actions": [{"path": path, "action": action, "rule": rule} for path, action, rule in done.actions],
            "findings": list(done.findings),
        }  # fmt: skip
        self._file.write_text(("\n" if self._first else ",\n") + json.dumps(row))
        self._first = False

    def close(self, tally: Tally) -> None:
        """Finish it."""
        if not self._file:
            return
        totals = {**dict.fromkeys((WRITTEN, PRESENT, QUARANTINED, FAILED), 0), **tally.by_status}
        if self._text:
            self._file.write_text("\n" + ", ".join(f"{count} {status}" for status, count in totals.items()) + "\n")
        else:
            self._file.write_text('\n], "totals": ' + json.dumps(totals) + "}\n")
        self._file.close()
        moved = self._moved()
        if moved:
            self._rewrite(moved)

    def _moved(self) -> dict[str, tuple[str, str]]:
        """Old and new name of outputs that made room for another of the same SOP Instance UID, by source."""
        moved = {}
        for claims in self._claims.values():
            if len(claims) > 1:
                finals = self._output.final_names(claim for _, _, claim in claims)
                moved.update({
                    source: (path, final)
                    for (source, path, _), final in zip(claims, finals, strict=True)
                    if path != final
                })  # fmt: skip
        return moved

    def _rewrite(self, moved: Mapping[str, tuple[str, str]]) -> None:
        """Correct the names in what was written already."""
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as written:
                self._file = ReportFile(f"{self._path}.part", private=True)
                for line in written:
                    self._file.write_text(self._corrected(line, moved))
            self._file.close()
            os.replace(f"{self._path}.part", self._path)
        except OSError as error:
            raise ReportError(f"report {self._path} cannot be written: {error.strerror}") from None

    def _corrected(self, line: str, moved: Mapping[str, tuple[str, str]]) -> str:
        if self._text:
            source, found, old = line.rstrip("\n").partition(f": {WRITTEN} as ")
            if found and moved.get(source, ("",))[0] == old:
                return f"{source}{found}{moved[source][1]}\n"
        elif line.startswith('{"source": '):
            row = json.loads(line.rstrip(",\n"))
            if row["source"] in moved:
                row["output"] = moved[row["source"]][1]
                return json.dumps(row) + line[len(line.rstrip(",\n")) :]
        return line


def _lines(done: Done) -> list[str]:
    lines = [f"{done.source}: {done.status}{f' as {done.output}' if done.output else ''}"]
    if done.reason:
        lines.append(f"  {done.reason}")
    lines += [f"  {path} {action} ({rule})" for path, action, rule in done.actions]
    lines += [f"  found: {finding}" for finding in done.findings]
    return lines

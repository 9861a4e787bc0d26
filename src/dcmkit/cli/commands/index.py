"""List, show, add, check, rebuild and remove what an archive holds"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from dcmkit.archive import maintenance, trash
from dcmkit.archive.adding import Added, add
from dcmkit.archive.attributes import ATTRIBUTES, INSTANCE, LEVELS, SERIES, STUDY
from dcmkit.archive.layout import is_safe_uid
from dcmkit.archive.planning import LAST_RECEIVED
from dcmkit.archive.query import DEFAULT_KEYS, Query, count, select, select_values
from dcmkit.archive.removal import Removed, remove
from dcmkit.archive.store import Archive
from dcmkit.cli.options import build, settings_options, tool_group
from dcmkit.cli.output import FORMATS, Progress, emit, say
from dcmkit.errors import ExitCode, NoInputError, OutputDirectoryError, UsageError
from dcmkit.settings import ArchiveSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcmkit.errors import DcmkitError

    Counted = list[tuple[Query, int]]

EXAMPLES = (
    ("Index a folder where it lies, without copying", "dcmkit index add -od archive /data/old-studies"),
    ("The studies of a patient, as JSON", "dcmkit index ls -od archive PatientID=4711 --format json"),
    ("This year's CT series", "dcmkit index ls -od archive --level series Modality=CT StudyDate=20260101-"),
    ("Compare files and index both ways, with digests", "dcmkit index check -od archive --digests"),
    ("Remove a study, files and rows", "dcmkit index rm -od archive 1.2.3.4 --yes"),
    ("What a month without news would remove", "dcmkit index rm -od archive --older-than 30d --dry-run"),
    ("What was deleted over HTTP, and can be had back", "dcmkit index trash -od archive ls"),
    ("Have a deletion back", "dcmkit index trash -od archive restore 20260101T120000Z-0123abcd"),
    ("Remove for good what was deleted a month ago", "dcmkit index trash -od archive purge --older-than 30d --yes"),
)

command = tool_group(
    "index",
    """Look into an archive and look after it.

    An archive is a directory of DICOM files (-od, by default the current directory) with an index in it. The files are
    the truth: the index can be made again from them at any time. KEY=VALUE chooses objects by index keys: a single
    value, UIDs joined by backslashes, wild cards * and ?, ranges such as StudyDate=20260101-20261231.""",
)


def common(*, output: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of every subcommand: the archive, and with `output` the form of results."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if output:
            option = click.option("--format", type=click.Choice(FORMATS), default="table", help="how to print it")
            function = option(function)
        return settings_options(ArchiveSettings)(function)

    return decorate


def open_archive(*, must_exist: bool = True) -> Archive:
    """The archive of this run; `with` opens it, and repairs what a killed process left."""
    settings = build(ArchiveSettings)
    root = settings.output_directory
    if must_exist and not os.path.isdir(os.path.join(root, ".dcmkit")):
        hint = "name the archive with -od, or make one with dcmkit index add"
        raise OutputDirectoryError(f"{root} holds no archive", hint=hint)
    return Archive(settings)


def matching(keys: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` arguments; a bare UID is looked for as study, series or instance by `ls` and `show`."""
    match: dict[str, str] = {}
    for key in keys:
        keyword, separator, value = key.partition("=")
        if not separator:
            raise UsageError(f"{key!r} is no KEY=VALUE", hint="for example PatientID=4711 or StudyDate=20260101-")
        match[keyword.strip()] = value
    return match


# --- looking -----------------------------------------------------------------------------------------------------


@command.command("ls")
@common(output=True)
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE...]")
@click.option("--level", type=click.Choice(LEVELS), default=STUDY, show_default=True, help="one line for each of these")
@click.option("--columns", metavar="KEYWORDS", default="", help="which keys to show, separated by commas")
@click.option("--limit", metavar="NUMBER", type=click.IntRange(0), default=0, help="at most so many lines (0: all)")
@click.option("--offset", metavar="NUMBER", type=click.IntRange(0), default=0, help="leave out the first lines")
@click.option("--copies", is_flag=True, help="at instance level, list further files of the same SOP Instance too")
def ls(keys: tuple[str, ...], level: str, columns: str, limit: int, offset: int, copies: bool, format: str) -> None:  # noqa: A002
    """List patients, studies, series or instances that match."""
    shown = tuple(name.strip() for name in columns.split(",") if name.strip()) or DEFAULT_KEYS[level]
    with open_archive() as archive:
        query = Query(level, matching(keys), shown, limit, offset, copies)
        emit(select(archive.index, query, archive.keywords), shown, format)


@command.command("show")
@common(output=True)
@click.argument("keys", nargs=-1, metavar="UID|KEY=VALUE...")
def show(keys: tuple[str, ...], format: str) -> ExitCode:  # noqa: A002
    """Show everything the index knows of the objects that match.

    A bare UID stands for the study, series or instance that has it.
    """
    if not keys:
        raise UsageError("nothing to show", hint="give a UID, or KEY=VALUE")
    with open_archive() as archive:
        rows = list(_everything(archive, keys))
    if not rows:
        say("nothing matches")
        return ExitCode.NOTHING_DONE
    if format in ("json", "jsonl"):
        emit(({k: v for k, v in row.items() if v not in (None, "")} for row in rows), (), format)
    else:
        pairs = [{"key": key, "value": value} for row in rows for key, value in row.items() if value not in (None, "")]
        emit(pairs, ("key", "value"), format)
    return ExitCode.DONE


def _everything(archive: Archive, keys: tuple[str, ...]) -> list[dict[str, str | int | None]]:
    bare = [key for key in keys if "=" not in key]
    named = matching(tuple(key for key in keys if "=" in key))
    if not bare:
        return _rows(archive, INSTANCE, named)
    found = []
    for uid in bare:
        for level, keyword in (
            (STUDY, "StudyInstanceUID"),
            (SERIES, "SeriesInstanceUID"),
            (INSTANCE, "SOPInstanceUID"),
        ):
            found += _rows(archive, level, {**named, keyword: uid})
    return found


def _rows(archive: Archive, level: str, match: dict[str, str]) -> list[dict[str, str | int | None]]:
    depth = LEVELS.index(level)
    keys = [a.keyword for a in ATTRIBUTES if LEVELS.index(a.level) <= depth]
    for above in LEVELS[: depth + 1]:
        keys += [key for key in DEFAULT_KEYS[above] if key not in keys and (above == level or key != "Path")]
    if level == INSTANCE:
        keys += [*archive.keywords, "SourceApplicationEntityTitle", "Received", "Digest", "Copy"]
    else:
        keys = [key for key in keys if key not in DEFAULT_KEYS[INSTANCE]]
    if level != STUDY:
        keys = [key for key in keys if key != "ModalitiesInStudy"]
    return list(select(archive.index, Query(level, match, tuple(keys), copies=True), archive.keywords))


@command.command("stats")
@common(output=True)
def stats(format: str) -> None:  # noqa: A002
    """Count patients, studies, series, instances and bytes, also by modality, SOP class and transfer syntax."""
    with open_archive() as archive:
        counted = maintenance.statistics(archive)
    rows: list[dict[str, Any]] = [{"what": what, "value": "", "number": n} for what, n in counted.counts.items()]
    for keyword, value, instances, size in counted.parts:
        rows.append({"what": keyword, "value": value, "number": instances, "bytes": size})
    emit(rows, ("what", "value", "number", "bytes"), format)


# --- looking after ---------------------------------------------------------------------------------------------------


@command.command("add")
@common()
@click.argument("paths", nargs=-1, metavar="FILES...")
@click.option("--jobs", metavar="NUMBER", type=click.IntRange(0), default=0, help="reading processes (0: one per core)")
@click.option("--digests", is_flag=True, help="note each file's SHA-256, for dcmkit index check --digests")
def add_command(paths: tuple[str, ...], jobs: int, digests: bool) -> ExitCode:
    """Index files and directories where they lie: nothing is copied or changed.

    What is indexed already and has not changed is passed over, so an interrupted run goes on where it was. Files that
    are no DICOM objects are named and left out.
    """
    if not paths:
        raise NoInputError("nothing to add", hint="name files or directories")

    def problem(path: str, error: DcmkitError) -> None:
        say(f"{path}: {error}")

    with open_archive(must_exist=False) as archive, Progress("indexing") as progress:
        added = add(archive, paths, jobs=jobs, digests=digests, problem=problem, progress=progress.advance)
    say(_summary(added))
    return _outcome(added)


def _summary(added: Added) -> str:
    return f"{added.added} added, {added.known} known already, {added.failed} not taken"


def _outcome(added: Added) -> ExitCode:
    if not added.failed:
        return ExitCode.DONE
    return ExitCode.PARTLY_DONE if added.added or added.known else ExitCode.NO_VALID_INPUT_FILES


@command.command("rm")
@common()
@click.argument("keys", nargs=-1, metavar="[UID|KEY=VALUE...]")
@click.option(
    "--older-than", metavar="TIME", default="", help="only studies that got nothing for so long: 12h, 30d, 6w"
)
@click.option("--dry-run", is_flag=True, help="only tell what would be removed, study by study")
@click.option("--keep-files", is_flag=True, help="take the objects out of the index, but leave their files")
@click.option("--yes", is_flag=True, help="do not ask")
def rm(keys: tuple[str, ...], older_than: str, dry_run: bool, keep_files: bool, yes: bool) -> ExitCode:
    """Remove the objects that match: files and rows together.

    A bare UID stands for the study, series or instance that has it. Files outside the archive that were indexed in
    place are never removed, and neither is a file that was changed after it was indexed. A removal that was killed is
    finished when the archive is opened next.
    """
    match = {keyword: value for keyword, value in matching(_named(keys)).items() if _chooses(value)}
    if older_than:
        match[LAST_RECEIVED] = f"-{int(time.time()) - _seconds(older_than)}"
    uids = _uids(keys)
    if not match and not uids:
        raise UsageError("nothing chosen", hint="give a UID, KEY=VALUE or --older-than; rm -r removes everything")
    with open_archive() as archive:
        chosen, missing = _chosen(archive, match, uids)
        wanted = sum(number for _, number in chosen)
        for uid in missing:
            say(f"{uid}: nothing matches")
        if not wanted:
            if not missing:
                say("nothing matches")
            return ExitCode.NOTHING_DONE
        if dry_run:
            _tell(archive, [query for query, _ in chosen])
            return ExitCode.PARTLY_DONE if missing else ExitCode.DONE
        if not yes and not _agrees(wanted, keep_files):
            say("nothing was removed")
            return ExitCode.BAD_USAGE
        removed = Removed(0, 0, 0)
        for query, _ in chosen:
            removed = removed.plus(remove(archive, query, keep_files=keep_files))
    say(f"{removed.instances} instances removed, with {removed.files} files ({removed.size} bytes)")
    if removed.kept:
        say(f"{removed.kept} instances were not removed: their files have changed (dcmkit index check)")
    if missing or removed.kept:
        return ExitCode.PARTLY_DONE if removed.instances else ExitCode.NOTHING_DONE
    return ExitCode.DONE


def _chooses(value: str) -> bool:
    """Whether a value leaves anything out: `*` does not, nor does a list with a `*` in it."""
    return all(part.strip("* ") for part in value.split("\\"))


_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def _seconds(text: str) -> int:
    number, unit = text.strip()[:-1], text.strip()[-1:].lower()
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(number) > 6:
        raise UsageError(f"--older-than: {text!r} is no time", hint="a number with h, d, w or y, for example 30d")
    return int(number) * _UNITS[unit]


def _named(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if "=" in key)


def _uids(keys: tuple[str, ...]) -> list[str]:
    bare = [key for key in keys if "=" not in key]
    for uid in bare:
        if not is_safe_uid(uid):
            raise UsageError(f"{uid!r} is neither a UID nor KEY=VALUE", hint="for example 1.2.3.4 or PatientID=4711")
    return bare


def _chosen(archive: Archive, match: dict[str, str], uids: list[str]) -> tuple[Counted, list[str]]:
    """What is to be removed, with the number of its files; and the UIDs nothing has."""
    chosen: Counted = []
    missing: list[str] = []
    for uid in uids:
        before = len(chosen)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            _count(archive, {**match, keyword: uid}, chosen)
        if len(chosen) == before:
            missing.append(uid)
    if not uids:
        _count(archive, match, chosen)
    return chosen, missing


def _count(archive: Archive, match: dict[str, str], chosen: Counted) -> None:
    query = Query(INSTANCE, match, ("StudyInstanceUID", "FileSize"), copies=True)
    number = count(archive.index, query, archive.keywords)
    if number:
        chosen.append((query, number))


def _tell(archive: Archive, queries: list[Query]) -> None:
    """What would go, study by study."""
    found: dict[str, list[int]] = {}
    for query in queries:
        for uid, size in select_values(archive.index, query, archive.keywords):
            sums = found.setdefault(str(uid or ""), [0, 0])
            sums[0] += 1
            sums[1] += int(size or 0)
    rows = [{"StudyInstanceUID": uid, "instances": sums[0], "bytes": sums[1]} for uid, sums in found.items()]
    emit(rows, ("StudyInstanceUID", "instances", "bytes"), "table")
    say("a dry run: nothing was removed")


def _agrees(instances: int, keep_files: bool) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{instances} instances match, and nobody is here to ask", hint="say --yes")
    return click.confirm(f"Remove {instances} instances{'' if keep_files else ' and their files'}?", err=True)


# --- the trash -------------------------------------------------------------------------------------------------------

_TRASH_COLUMNS = ("id", "deleted", "study", "series", "instance", "by", "instances", "bytes")


@command.command("trash")
@common(output=True)
@click.argument("action", type=click.Choice(["ls", "restore", "purge"]), metavar="(ls | restore | purge)")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--older-than", metavar="TIME", default="", help="of purge: what was deleted so long ago: 12h, 30d, 6w")
@click.option("--dry-run", is_flag=True, help="of purge: only tell what would be removed")
@click.option("--yes", is_flag=True, help="of purge: do not ask")
def trash_command(
    action: str, ids: tuple[str, ...], older_than: str, dry_run: bool, yes: bool, format: str  # noqa: A002
) -> ExitCode:  # fmt: skip
    """List what was deleted over HTTP and is kept (ls), have it back (restore), or remove it for good (purge).

    Each deletion has an ID, which ls shows. What is restored is stored again as it was; where another object with its
    UID has come meanwhile, that stays, and --on-duplicate says whether both are kept. Without ID and --older-than,
    purge removes everything that is in the trash. A service may be running on the archive.
    """
    if action != "purge" and (older_than or dry_run or yes):
        raise UsageError(f"--older-than, --dry-run and --yes are of purge, not of {action}", hint="leave them out")
    if action == "restore" and not ids:
        raise UsageError("restore which?", hint="say an ID, as dcmkit index trash ls shows it")
    if ids and older_than:
        raise UsageError("both IDs and --older-than", hint="leave one of them out")
    before = time.time() - _seconds(older_than) if older_than else float("inf")
    with open_archive() as archive:
        found = [one for one in trash.discarded(archive) if one.deleted <= before]
        missing = [identifier for identifier in ids if identifier not in {one.identifier for one in found}]
        for identifier in missing:
            say(f"{identifier}: there is no such deletion in the trash")
        chosen = [one for one in found if not ids or one.identifier in ids]
        if action == "ls":
            emit(map(_discarded, chosen), _TRASH_COLUMNS, format)
            return _partly(bool(missing), bool(chosen)) if ids else ExitCode.DONE
        if not chosen:
            if not missing:
                say("there is nothing in the trash" if not older_than else "nothing in the trash is so old")
            return ExitCode.NOTHING_DONE
        if action == "restore":
            return _restore(archive, chosen, bool(missing))
        if dry_run:
            emit(map(_discarded, chosen), _TRASH_COLUMNS, format)
            say("a dry run: nothing was removed")
            return _partly(bool(missing), True)
        if not yes and not _agrees(sum(one.instances for one in chosen), keep_files=False):
            say("nothing was removed")
            return ExitCode.BAD_USAGE
        _purge(archive, chosen)
    say(f"{len(chosen)} deletions are gone for good, with {sum(one.instances for one in chosen)} instances")
    return _partly(bool(missing), True)


def _discarded(one: trash.Discarded) -> dict[str, Any]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.deleted))
    return dict(zip(_TRASH_COLUMNS, (one.identifier, when, *one[2:]), strict=True))


def _partly(failed: bool, done: bool) -> ExitCode:
    if not failed:
        return ExitCode.DONE
    return ExitCode.PARTLY_DONE if done else ExitCode.NOTHING_DONE


def _restore(archive: Archive, chosen: list[trash.Discarded], missing: bool) -> ExitCode:
    back, left = 0, 0
    for one in chosen:
        try:
            done = trash.restore(archive, one.identifier)
        except trash.NotInTrashError as error:  # somebody else was faster
            say(f"{one.identifier}: {error}")
            left += one.instances
            continue
        back, left = back + done.instances, left + len(done.left)
        for reason in dict.fromkeys(done.left):
            say(f"{one.identifier}: {reason}")
    say(f"{back} instances are back" + (f", {left} are left in the trash" if left else ""))
    return _partly(missing or bool(left), bool(back))


def _purge(archive: Archive, chosen: list[trash.Discarded]) -> None:
    """Those that were shown and agreed to, and none that has come since."""
    for one in chosen:
        try:
            trash.discard(archive, one.identifier)
        except trash.NotInTrashError:
            pass  # somebody else was faster
    trash.purge(archive, float("inf"))  # what was half removed when something was killed


# --- bringing in order -----------------------------------------------------------------------------------------------


@command.command("rebuild")
@common()
@click.option("--jobs", metavar="NUMBER", type=click.IntRange(0), default=0, help="reading processes (0: one per core)")
def rebuild(jobs: int) -> ExitCode:
    """Make the index again from the files. The old one serves until the new one is complete."""
    if not os.path.isdir(build(ArchiveSettings).output_directory):
        raise OutputDirectoryError(f"{build(ArchiveSettings).output_directory} is no directory")
    with open_archive(must_exist=False) as archive, Progress("reading") as progress:
        added = maintenance.rebuild(archive, jobs=jobs, progress=progress.advance)
    say(f"{added.added} objects are in the new index, {added.failed} files were not taken")
    return ExitCode.DONE


@command.command("check")
@common(output=True)
@click.option(
    "--digests", is_flag=True, help="read every file and compare its SHA-256; note it where there is none yet"
)
@click.option("--repair", is_flag=True, help="bring the index up to date with the files")
def check(digests: bool, repair: bool, format: str) -> ExitCode:  # noqa: A002
    """Compare files and index both ways.

    Prints each difference: `missing` (a row without its file), `changed` (size or time differ), `unindexed` (a DICOM
    file without a row), `damaged` (the content is not what it was). Exit code 46 if there is one that stays.
    """
    kinds: list[str] = []

    def noted(differences: Any) -> Any:
        for difference in differences:
            kinds.append(difference.kind)
            yield {"kind": difference.kind, "path": difference.path, "detail": difference.detail}

    with open_archive() as archive, Progress("checking") as progress:
        found = maintenance.check(archive, digests=digests, repair=repair, progress=progress.advance)
        emit(noted(found), ("kind", "path", "detail"), format) if format != "table" else _table(noted(found))
    if not kinds:
        say("files and index agree")
        return ExitCode.DONE
    say(f"{len(kinds)} differences{', repaired where the index was wrong' if repair else ''}")
    stays = maintenance.DAMAGED in kinds if repair else True
    return ExitCode.ARCHIVE_DAMAGED if stays else ExitCode.DONE


def _table(rows: Any) -> None:
    """A table, or nothing at all: no head above no differences."""
    found = list(rows)
    if found:
        emit(found, ("kind", "path", "detail"), "table")

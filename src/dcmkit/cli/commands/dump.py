"""Print what is in DICOM files, as text, JSON, XML or CSV, or what differs between two."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.dumping import FORMATS, WRITERS, Wanted, Writer
from dcmkit.cli.options import tool
from dcmkit.cli.output import environment, say, stdout_errors
from dcmkit.dataset.dump import Look
from dcmkit.dataset.dump_file import DumpFile, Reading
from dcmkit.dataset.dump_model import Bulk, Choice, path_of, test_of
from dcmkit.dataset.files import find_files
from dcmkit.dataset.nodes import How
from dcmkit.errors import DcmkitError, ExitCode, NoInputError, UsageError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = (
    ("What is in a file", "dcmkit dump image.dcm"),
    ("One element of many files, wherever it is", "dcmkit dump +F +P PatientID studies"),
    (
        "A code within sequences, with the path to it",
        "dcmkit dump +p +P ConceptNameCodeSequence.CodeMeaning report.dcm",
    ),
    ("The geometry, nothing private", "dcmkit dump --filter 'Pixel*' --filter 0020,xxxx --no-private image.dcm"),
    ("As JSON, the file meta in it", "dcmkit dump --format json --meta image.dcm"),
    ("What a conversion changed", "dcmkit dump --diff before.dcm after.dcm"),
)

_SYNTAXES = {"e": EXPLICIT_VR_LITTLE_ENDIAN, "b": EXPLICIT_VR_BIG_ENDIAN, "i": IMPLICIT_VR_LITTLE_ENDIAN}
_LOAD_LIMIT = 4
"""Kilobytes a value may have to be loaded with -M, as in dcmdump."""


def _choice(*flags: str, to: str, value: str, help: str) -> Callable[[Any], Any]:  # noqa: A002
    return click.option(*flags, to, flag_value=value, default=None, help=help)


@tool("dump")
@click.argument("paths", nargs=-1, metavar="FILES...")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", help="how it is written")
@click.option("--diff", is_flag=True, help="print what differs between two files; exit code 12 where something does")
@click.option("--filter", "filters", metavar="PATTERN", multiple=True,
              help="only what fits: keyword (Patient*), tag (0028,xxxx) or range (0010,0000-0010,ffff)")  # fmt: skip
@click.option("--private/--no-private", default=True, help="show private elements")
@click.option("--values/--no-values", default=True, help="show values; without them a dump holds no patient data")
@click.option("--meta/--no-meta", default=None, help="show the file meta; text does so by default, other formats not")
@click.option("--depth", metavar="NUMBER", type=click.IntRange(0), default=None, help="levels of sequences shown")
@click.option("--assume-charset", metavar="CHARSET", default="", help="where no Specific Character Set is declared")
@_choice("+f", "--read-file", to="kind", value="any", help="files with or without file meta; so by default")
@_choice("+fo", "--read-file-only", to="kind", value="file", help="only files with file meta")
@_choice("-f", "--read-dataset", to="kind", value="bare", help="data sets without file meta")
@_choice("-t=", "--read-xfer-auto", to="syntax", value="auto", help="transfer syntax of the file meta; so by default")
@_choice("-td", "--read-xfer-detect", to="syntax", value="detect", help="transfer syntax by the look of the bytes")
@_choice("-te", "--read-xfer-little", to="syntax", value="e", help="read as explicit VR little endian")
@_choice("-tb", "--read-xfer-big", to="syntax", value="b", help="read as explicit VR big endian")
@_choice("-ti", "--read-xfer-implicit", to="syntax", value="i", help="read as implicit VR little endian")
@click.option("+sd", "--scan-directories", is_flag=True, help="take directories too; always so")
@click.option("+sp", "--scan-pattern", metavar="PATTERN", default="", help="in directories, only such file names")
@click.option("+r/-r", "--recurse/--no-recurse", default=True, help="enter directories within directories")
@click.option("-M/+M", "--load-short/--load-all", default=False, help="leave long values in the file")
@click.option("+R", "--max-read-length", metavar="KBYTES", type=click.IntRange(4, 4194302), default=None,
              help="how long values may be with --load-short (default: 4)")  # fmt: skip
@click.option(
    "+ae/+ao", "--assume-even-length/--accept-odd-length", default=False, help="odd lengths are one too small"
)
@click.option("-ev/+ev", "--ignore-explicit-vr/--use-explicit-vr", default=False, help="VR of the data dictionary")
@click.option("+ui/-ui", "--enable-cp246/--disable-cp246", default=True, help="UN of undefined length is implicit VR")
@click.option("+uc/-uc", "--convert-un/--retain-un", default=False, help="show UN with the VR of the data dictionary")
@click.option("+st", "--stop-after-elem", metavar="TAG", default="", help="read no further than this element")
@click.option("+sb", "--stop-before-elem", metavar="TAG", default="", help="read up to this element")
@click.option("+bz/+bd", "--bitstream-zlib/--bitstream-deflated", default=False, help="deflated data has a zlib header")
@click.option("+U8", "--convert-to-utf8", is_flag=True, help="show text in Unicode; always so")
@click.option("+L/-L", "--print-all/--print-short", "whole", default=False, help="print long values completely")
@click.option("+T/-T", "--print-tree/--print-indented", "tree", default=False, help="names as a tree")
@_choice("+F", "--print-filename", to="heading", value="1", help="the file name before each file")
@_choice("+Fs", "--print-file-search", to="heading", value="2", help="likewise, where something was found")
@click.option("+Un/-Un", "--map-uid-names/--no-uid-names", "uid_names", default=True, help="names of well-known UIDs")
@_choice("+Qn", "--quote-nonascii", to="quote", value="xml", help="what is not ASCII as XML markup, byte by byte")
@_choice("+Qo", "--quote-as-octal", to="quote", value="octal", help="what is not ASCII as octal numbers")
@_choice("-Qn", "--print-nonascii", to="quote", value="", help="text in Unicode; so by default")
@click.option("+C/-C", "--print-color/--no-color", "color", default=None, help="colours; on a terminal by default")
@_choice("-E", "--stop-on-error", to="damaged", value="stop", help="print nothing of damaged files")
@_choice("+E", "--ignore-errors", to="damaged", value="print", help="print what comes before the damage; by default")
@click.option("+P", "--search", "searched", metavar="TAG", multiple=True, help="print such elements only; or a path")
@click.option("-s/+s", "--search-first/--search-all", "first", default=False, help="only the first of each")
@click.option("+p/-p", "--prepend/--no-prepend", "prepend", default=False, help="the path before what was found")
@click.option(
    "+ml/-ml", "--use-meta-length/--ignore-meta-length", default=False, help="always -ml, +dc, +pe and so on:"
)
@click.option("+vr/-vr", "--treat-as-unknown/--assume-implicit", default=True, help="what can be read is read")
@click.option("-sq/+sq", "--maxlength-dict/--maxlength-seq", default=True, help="likewise")
@click.option("-rd/+rd", "--use-delim-items/--replace-wrong-delim", default=True, help="likewise")
@click.option("-oi/+oi", "--illegal-obow-rej/--illegal-obow-conv", default=False, help="likewise")
@click.option("-vi/+vi", "--illegal-voi-rej/--illegal-voi-conv", default=False, help="likewise")
@click.option("-pe/+pe", "--abort-expl-pixdata/--use-expl-pixdata", default=False, help="likewise")
@click.option("+Ep/-Ep", "--ignore-parse-errors/--handle-parse-errors", default=False, help="likewise")
@click.option("+dc/-dc", "--enable-correction/--disable-correction", default=True, help="likewise")
def command(paths: tuple[str, ...], **options: Any) -> ExitCode:
    """Print the elements of DICOM files, line for line as DCMTK's dcmdump does.

    Text is shown in Unicode whatever the character set of the file is, and nothing a terminal would obey leaves a file
    as it is. Pixel data is not read, unless --print-all asks for it: files of any size take no more memory than
    small ones. Of a damaged file everything before the damage is printed, then one line says what is wrong, and where.

    In JSON and XML, pixel data is a URI with offset and length; with --load-short so are all long values.
    Names of private elements are those of the dictionaries in DCMDICTPATH, else of an installed DCMTK.
    """
    if options["diff"]:
        return _diff(paths, options)
    if not paths:
        raise NoInputError("no files to dump", hint="name files or directories")
    writer = WRITERS[options["form"]](_wanted(paths, options))
    outcome = _Outcome()
    reading = _reading(options)
    for path in _files(paths, outcome, options):
        _dump(path, reading, writer, outcome, nothing_of_damaged=options["damaged"] == "stop")
    with stdout_errors():
        writer.close()
    return outcome.exit_code()


class _Outcome:
    """Counts what became of the files, and tells failures on stderr."""

    def __init__(self) -> None:
        self.done = 0
        self._codes: list[ExitCode] = []

    def failure(self, path: str, error: DcmkitError) -> None:
        """A file that cannot be dumped, or not to its end."""
        self._codes.append(error.exit_code)
        with stdout_errors():
            sys.stdout.flush()
        say(f"{environment.program}: error: {path}: {error}")

    def exit_code(self) -> ExitCode:
        """All, some or none; of a single file what was wrong with it."""
        if not self._codes:
            if not self.done:
                raise NoInputError("no files to dump: the directories are empty")
            return ExitCode.DONE
        if self.done:
            return ExitCode.PARTLY_DONE
        return self._codes[0] if len(self._codes) == 1 else ExitCode.NOTHING_DONE


def _files(paths: tuple[str, ...], outcome: _Outcome, options: dict[str, Any]) -> Iterator[str]:
    for path in paths:
        if path == "-" or (os.path.exists(path) and not os.path.isdir(path)):
            yield path
        else:
            yield from find_files([path], outcome.failure, recurse=options["recurse"], pattern=options["scan_pattern"])


def _dump(path: str, reading: Reading, writer: Writer, outcome: _Outcome, *, nothing_of_damaged: bool) -> None:
    try:
        with DumpFile(path, reading) as file:
            if not (file.errors and nothing_of_damaged):
                writer.add(file)
            for warning in file.warnings:
                say(f"{environment.program}: warning: {path}: {warning}")
            if file.errors:
                raise file.errors[0]
    except UsageError:
        raise
    except DcmkitError as error:
        outcome.failure(path, error)
    else:
        outcome.done += 1


def _wanted(paths: tuple[str, ...], options: dict[str, Any]) -> Wanted:
    if options["tree"] and options["prepend"]:
        raise UsageError("--prepend is not for --print-tree")
    kilobytes = options["max_read_length"]
    limit = (kilobytes or _LOAD_LIMIT) * 1024 if options["load_short"] else 0
    return Wanted(
        _look(options, limit),
        Choice(tuple(test_of(one) for one in options["filters"]), options["private"]),
        tuple(path_of(one) for one in options["searched"]),
        first=options["first"],
        prepend=options["prepend"],
        heading=int(options["heading"] or 0),
        files=len(paths) if not any(os.path.isdir(path) for path in paths) else 0,
        meta=options["meta"],
        bulk=Bulk(limit, pixels=options["whole"]),
    )


def _look(options: dict[str, Any], limit: int) -> Look:
    color = options["color"]
    return Look(
        short=not options["whole"],
        tree=options["tree"],
        uid_names=options["uid_names"],
        quote=options["quote"] or "",
        color=environment.color if color is None else color,
        load_limit=limit,
        values=options["values"],
        depth=options["depth"],
        charset=options["assume_charset"],
    )


def _reading(options: dict[str, Any]) -> Reading:
    kind, syntax = options["kind"], options["syntax"]
    after, before = options["stop_after_elem"], options["stop_before_elem"]
    how = How(
        ignore_vr=options["ignore_explicit_vr"],
        implicit_unknown=options["enable_cp246"],
        convert_unknown=options["convert_un"],
        even_length=options["assume_even_length"],
        stop_after=path_of(after)[-1] if after else 0,
        stop_before=path_of(before)[-1] if before else 0,
    )
    return Reading(
        bare={"file": False, "bare": True}.get(kind),
        transfer_syntax_uid=_SYNTAXES.get(syntax, ""),
        detect=syntax == "detect",
        zlib=options["bitstream_zlib"],
        how=how,
    )


def _diff(paths: tuple[str, ...], options: dict[str, Any]) -> ExitCode:
    from dcmkit.dataset.dump_diff import differences

    if len(paths) != 2:
        raise UsageError(f"--diff compares two files, not {len(paths)}")
    wanted, reading = _wanted(paths, options), _reading(options)
    equal = True
    with DumpFile(paths[0], reading) as first, DumpFile(paths[1], reading) as second:
        for file in (first, second):
            file.meta, file.nodes = wanted.choice.of(file.meta), wanted.choice.of(file.nodes)
        with stdout_errors():
            for difference in differences(first, second, wanted.look, meta=wanted.meta is not False):
                equal = False
                sys.stdout.writelines(f"{difference.sign} {line}\n" for line in difference.lines)
        outcome = _Outcome()
        for file in (first, second):
            for error in file.errors[:1]:
                outcome.failure(file.path, error)
            outcome.done += not file.errors
    code = outcome.exit_code()
    return code if code else ExitCode.DONE if equal else ExitCode.DIFFERENT

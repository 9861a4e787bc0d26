"""Convert files from one transfer syntax into another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.conversion import Tally, convert_files, where_to
from dcmkit.cli.conversion_tools import TOOLS, translated
from dcmkit.cli.options import Tool
from dcmkit.cli.output import FORMATS, emit
from dcmkit.cli.parser import expand
from dcmkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcmkit.pixels.transcode import TranscodeOptions

EXAMPLES = (
    ("One file, losslessly compressed", "dcmkit transcode ct.dcm -o small.dcm --to jpegls"),
    ("A folder into another, in HTJ2K", "dcmkit transcode study/ -o study-ht/ --to htj2k"),
    ("Decompress what is there, where it is", "dcmkit transcode study/ --in-place --to uncompressed"),
    ("JPEG of a certain quality", "dcmkit transcode us.dcm -o us.jpeg.dcm --to jpeg --quality 85"),
    ("What this installation can do", "dcmkit transcode --list"),
)

SAME = "same"
_LOSSY_TWINS = {
    "jpeg-lossless": "jpeg", "jpegls": "jpegls-near", "j2k": "j2k-lossy", "htj2k": "htj2k-lossy", "jxl": "jxl-lossy",
}  # fmt: skip


class Transcode(Tool):
    """Takes the arguments of DCMTK's converters too, after `--as TOOL`, as a link with such a name gives them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate them first."""
        if args[:1] == ["--as"] and len(args) > 1 and args[1] in TOOLS:
            args = translated(args[1], expand(args[2:], lambda _: False))
        return super().parse_args(ctx, args)


def _to(*flags: str, to: str, help: str) -> Callable[[Any], Any]:  # noqa: A002
    return click.option(*flags, "to", flag_value=to, default=None, help=help)


def _number(*flags: str, to: str, low: float, high: float, help: str) -> Callable[[Any], Any]:  # noqa: A002
    kind = click.FloatRange(low, high) if isinstance(low, float) else click.IntRange(int(low), int(high))
    return click.option(*flags, to, type=kind, default=None, metavar="NUMBER", help=help)


@click.command("transcode", cls=Transcode)
@click.argument("paths", nargs=-1, metavar="FILES...")
@click.option("-o", "--output", metavar="OUT", default="", help="file or directory to write")
@click.option("--to", "to", metavar="SYNTAX", default=None,
              help="transfer syntax: UID, keyword, same, or a short name as --list shows them")  # fmt: skip
@click.option("--list", "show_list", is_flag=True, help="show what is decoded and encoded here, and with what")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", help="of --list [default: table]")
@click.option("--in-place", is_flag=True, help="replace each file by what it becomes")
@click.option("--overwrite", is_flag=True, help="replace files that are there")
@click.option("--jobs", type=click.IntRange(0, 256), default=0, metavar="NUMBER",
              help="files and frames at a time (0: one per core) [default: 0]")  # fmt: skip
@click.option("--report", metavar="FILE", default="", help="write a JSON line for each file: what became of it")
@click.option("--verify/--no-verify", default=True, help="decode and compare what was encoded without loss")
@click.option("--relabel/--no-relabel", default=True, help="keep codestreams where both syntaxes allow them")
@click.option("--force", is_flag=True, help="encode again even what is in that syntax already")
@click.option("--lossy", "lossy_twin", is_flag=True, help="the lossy syntax of the family that is named")
@click.option("--rgb/--no-rgb", default=None,
              help="make RGB of luminance and chrominance when decoding [default: out of lossy JPEG]")  # fmt: skip
@_number("+q", "--quality", to="quality", low=1, high=100, help="of lossy syntaxes, 1 to 100 [default: 90]")
@_number("--ratio", to="ratio", low=1.0, high=10000.0, help="compression ratio of lossy JPEG 2000")
@_number("--psnr", to="psnr", low=1.0, high=200.0, help="signal-to-noise ratio of lossy JPEG 2000 and HTJ2K, in dB")
@_number("+md", "--near", "--max-deviation", to="near", low=0, high=255,
         help="largest difference of a sample, near-lossless JPEG-LS [default: 2]")  # fmt: skip
@_number("--layers", to="layers", low=1, high=64, help="quality layers of lossy JPEG 2000")
@_number("--tile", to="tile", low=0, high=65535, help="edge of the tiles of JPEG 2000 and HTJ2K (0: one tile)")
@_number("+sv", "--predictor", "--selection-value", to="predictor", low=1, high=7,
         help="of lossless JPEG [default: 1]")  # fmt: skip
@_number("--effort", to="effort", low=2, high=9, help="of JPEG XL [default: 3]")
@click.option("--subsampling", type=click.Choice(["444", "422", "420", "rgb"]), default=None,
              help="chroma of lossy JPEG; rgb: no colour transform [default: 422]")  # fmt: skip
@click.option("--uid", type=click.Choice(["default", "always", "never"]), default=None,
              help="when the output is another SOP Instance [default: where something is lost]")  # fmt: skip
@click.option("+ud", "--uid-default", "uid", flag_value="default", default=None, help="where something is lost")
@click.option("+ua", "--uid-always", "uid", flag_value="always", default=None, help="always")
@click.option("+un", "--uid-never", "uid", flag_value="never", default=None, help="never")
@click.option("--lengths", type=click.Choice(["keep", "defined", "undefined"]), default=None,
              help="of sequences and items [default: keep]")  # fmt: skip
@click.option("+e", "--length-explicit", "lengths", flag_value="defined", default=None, help="--lengths defined")
@click.option("-e", "--length-undefined", "lengths", flag_value="undefined", default=None, help="--lengths undefined")
@click.option("--group-lengths", type=click.Choice(["remove", "recalculate", "create"]), default=None,
              help="[default: remove]")  # fmt: skip
@click.option("+g=", "--group-length-recalc", "group_lengths", flag_value="recalculate", default=None,
              help="--group-lengths recalculate")  # fmt: skip
@click.option("+g", "--group-length-create", "group_lengths", flag_value="create", default=None,
              help="--group-lengths create")  # fmt: skip
@click.option("-g", "--group-length-remove", "group_lengths", flag_value="remove", default=None,
              help="--group-lengths remove")  # fmt: skip
@click.option("--offset-table", type=click.Choice(["basic", "extended", "empty"]), default=None,
              help="of encapsulated frames [default: basic]")  # fmt: skip
@click.option("+ot", "--offset-table-create", "offset_table", flag_value="basic", default=None,
              help="--offset-table basic")  # fmt: skip
@click.option("-ot", "--offset-table-empty", "offset_table", flag_value="empty", default=None,
              help="--offset-table empty")  # fmt: skip
@click.option("+fs", "--fragment-size", metavar="SIZE", default="",
              help="of a fragment at most, in kilobytes or with k, m or g")  # fmt: skip
@_number("+cl", "--deflate-level", "--compression-level", to="deflate_level", low=0, high=9,
         help="of the deflated syntax [default: 6]")  # fmt: skip
@click.option("--sync", is_flag=True, help="wait until each file is on disk")
@_to("+te", "--write-xfer-little", to="explicit", help="--to explicit")
@_to("+ti", "--write-xfer-implicit", to="implicit", help="--to implicit")
@_to("+tb", "--write-xfer-big", to="big-endian", help="--to big-endian")
@_to("+td", "--write-xfer-deflated", to="deflated", help="--to deflated")
@_to("+t=", "--write-xfer-same", to="same", help="--to same")
@_to("+e1", "--encode-lossless-sv1", to="jpeg-lossless", help="--to jpeg-lossless")
@_to("+el", "--encode-lossless", to="jpeg-lossless-14", help="--to jpeg-lossless-14")
@_to("+eb", "--encode-baseline", to="jpeg", help="--to jpeg")
@_to("+ee", "--encode-extended", to="jpeg-extended", help="--to jpeg-extended")
@_to("+en", "--encode-nearlossless", to="jpegls-near", help="--to jpegls-near")
@_to("--raw", to="explicit", help="--to explicit, as gdcmconv says")
@_to("--jpeg", to="jpeg-lossless", help="--to jpeg-lossless, or jpeg with --lossy, as gdcmconv says")
@_to("--jpegls", to="jpegls", help="--to jpegls, or jpegls-near with --lossy")
@_to("--j2k", to="j2k", help="--to j2k, or j2k-lossy with --lossy")
@_to("--rle", to="rle", help="--to rle")
@click.option("+r/-r", "--recurse/--no-recurse", default=True, help="enter directories within directories")
@click.option("+sp", "--scan-pattern", metavar="PATTERN", default="", help="in directories, only such file names")
def command(
    paths: tuple[str, ...], output: str, to: str | None, show_list: bool, form: str, in_place: bool, overwrite: bool,
    report: str, recurse: bool, scan_pattern: str, lossy_twin: bool, **how: Any,
) -> ExitCode:  # fmt: skip
    """Convert DICOM files, and what is in directories, into another transfer syntax.

    Lossless compression and decompression change nothing else, and are verified by decoding what was written. Lossy
    compression makes another SOP Instance that names its source. Codestreams are kept where the family allows it.

    Links called dcmconv, dcmcjpeg, dcmdjpeg, dcmcjpls, dcmdjpls, dcmcrle, dcmdrle and gdcmconv behave as those.
    """
    if show_list:
        emit(capabilities(), ("name", "keyword", "uid", "decodes", "encodes"), form)
        return ExitCode.DONE
    if to is None:
        raise UsageError("into which transfer syntax? --to is missing", hint="dcmkit transcode --list shows them")
    where = where_to(paths, output, in_place=in_place, overwrite=overwrite)
    from dcmkit.pixels.plan import named

    to = _LOSSY_TWINS.get(to.lower(), to) if lossy_twin else to
    syntax = "" if to.lower() == SAME else named(to)
    options = transcode_options(how)
    tally = Tally(report)
    try:
        convert_files(paths, where, syntax, options, tally, recurse=recurse, pattern=scan_pattern)
    finally:
        tally.close()
    return tally.exit_code()


_ENCODING = ("quality", "ratio", "psnr", "near", "layers", "tile", "predictor", "effort", "subsampling")
_ABOUT_LOSS = ("quality", "ratio", "psnr", "near", "layers")


def transcode_options(how: dict[str, Any]) -> TranscodeOptions:
    """The options of the library from those of the command.

    A quality that is asked for is a quality: codestreams are not kept then.
    """
    from dcmkit.pixels.frames import EncodeOptions
    from dcmkit.pixels.transcode import TranscodeOptions
    from dcmkit.pixels.writer import WriterOptions
    from dcmkit.settings import usable_cores

    given = {name: how[name] for name in _ENCODING if how[name] is not None}
    encode = EncodeOptions(verify=how["verify"], **given)
    table = how["offset_table"] or "basic"
    writer = WriterOptions(
        sequences={"keep": "as-they-are"}.get(how["lengths"] or "keep", how["lengths"] or ""),
        group_lengths=how["group_lengths"] or "remove",
        extended_offset_table=table == "extended",
        basic_offset_table=table != "empty",
        fragment_size=_size(how["fragment_size"]),
        deflate_level=6 if how["deflate_level"] is None else how["deflate_level"],
        sync=how["sync"],
    )
    return TranscodeOptions(
        encode.checked(),
        writer,
        uid=how["uid"] or "default",
        relabel=how["relabel"] and not any(name in given for name in _ABOUT_LOSS),
        force=how["force"],
        rgb=how["rgb"],
        jobs=how["jobs"] or usable_cores(),
    )


def _size(text: str) -> int:
    from dcmkit.settings import size_of, size_text

    if not text:
        return 0
    word = size_text(text)
    size = size_of(word) << (10 if word.isdigit() else 0)  # DCMTK's option is in kilobytes
    if size < 2:
        raise UsageError("a fragment has at least two bytes")
    return size


def capabilities() -> list[dict[str, str]]:
    """A row for each transfer syntax: short name, keyword, UID, libraries that decode and encode."""
    from dcmkit.pixels.codecs import available
    from dcmkit.pixels.plan import SHORT_NAMES
    from dcmkit.uids import keyword_of

    names: dict[str, str] = {}
    for name, uid in SHORT_NAMES.items():
        names.setdefault(uid, name)
    return [
        {
            "name": names.get(uid, ""),
            "keyword": keyword_of(uid),
            "uid": uid,
            "decodes": ", ".join(decoders),
            "encodes": ", ".join(encoders) or ("" if decoders else "passed on as it is"),
        }
        for uid, decoders, encoders in available()
    ]

"""Turn images into PNG, JPEG, TIFF and other pictures, or show them in the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli import rendering as given_by
from dcmkit.cli.options import tool
from dcmkit.cli.output import Progress, environment, say, stdout_errors
from dcmkit.cli.picture_files import Names, is_known, media_type_for, write_atomically
from dcmkit.dataset.files import find_files
from dcmkit.errors import DcmkitError, ExitCode, InvalidDataSetError, NoInputError, UsageError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.render import Rendering

log = get_logger("render")

EXAMPLES = (
    ("A JPEG of a slice, in a window of its own", "dcmkit render slice.dcm -o slice.jpg --window 40,400"),
    ("All images of a folder, no larger than 256 pixels", "dcmkit render study/ -o pictures/ --viewport 256x256"),
    ("A cine loop", "dcmkit render run.dcm -o run.gif --frame all"),
    ("A sheet of a series, four in a row", "dcmkit render series/ -o sheet.png --montage 4 --viewport 128x128"),
    ("As somebody wanted it to be seen", "dcmkit render image.dcm -o image.png --presentation-state state.dcm"),
    ("A look in the terminal", "dcmkit render image.dcm"),
)


def _choice(*flags: str, to: str, value: Any, help: str) -> Callable[[Any], Any]:  # noqa: A002
    return click.option(*flags, to, flag_value=value, default=None, help=help)


def _four(*flags: str, to: str, help: str) -> Callable[[Any], Any]:  # noqa: A002
    return click.option(*flags, to, nargs=4, type=int, default=None, metavar="LEFT TOP WIDTH HEIGHT", help=help)


def _dcmtk_only(command: Any) -> Any:
    """Options of DCMTK that change nothing here, and those that are refused with a reason."""
    for flags in given_by.ALWAYS_SO:
        command = click.option(*flags.split(), "as_always", flag_value=1, default=None, hidden=True)(command)
    for flags in given_by.REFUSED:
        command = click.option(
            *flags.split(), is_flag=True, expose_value=False, is_eager=True, hidden=True,
            callback=lambda _ctx, _parameter, given, flags=flags: given_by.refuse(flags, given),
        )(command)  # fmt: skip
    return command


_FACTOR = click.FloatRange(0.001, 1000)


@tool("render")
@click.argument("paths", nargs=-1, metavar="FILES...")
@click.option("-o", "--output", metavar="OUT", default="", help="file or directory to write; - is stdout")
@click.option("--format", "form", metavar="FORMAT", default=None,
              help="png, jpeg, webp, gif, bmp, pnm, tiff or jls; by default as OUT ends, else png")  # fmt: skip
@click.option("+Jq", "--quality", "--compr-quality", type=click.IntRange(1, 100), default=90, metavar="NUMBER",
              help="quality of JPEG and WebP, 1 to 100 [default: 90]")  # fmt: skip
@click.option("--frame", metavar="N|FIRST-LAST|all", default=None, help="frames, counted from 1 [default: 1]")
@click.option("--window", metavar="C,W|NAME", default=None,
              help="centre and width; or minmax, minmax-inner, none, or auto: "
                   "the object's, else percentiles 1 to 99")  # fmt: skip
@click.option("--function", type=click.Choice(["linear", "linear-exact", "sigmoid"]), default=None,
              help="VOI LUT function of the window")  # fmt: skip
@click.option("--percentiles", metavar="LOW,HIGH", default="", help="window between percentiles of the values")
@click.option("+Wi", "--preset", "--use-window", metavar="NUMBER|NAME", default="",
              help="a window of the object, by number from 1 or explanation")  # fmt: skip
@click.option("+Wl", "--use-voi-lut", "voi_lut", type=click.IntRange(1), default=None, metavar="NUMBER",
              help="a VOI LUT of the object, by number from 1")  # fmt: skip
@click.option("--viewport", metavar="COLUMNSxROWS", default="", help="fit into this size, in proportion")
@click.option("--size", metavar="COLUMNSxROWS", default="", help="scale to this size; one side may be left out")
@click.option("--scale", type=click.FloatRange(0.001, 1000), default=None, metavar="FACTOR", help="scale by a factor")
@click.option("--interpolation", type=click.Choice(["nearest", "linear", "area"]), default=None,
              help="how is scaled; area for smaller, linear for larger by default")  # fmt: skip
@click.option("+a/-a", "--recognize-aspect/--ignore-aspect", "aspect", default=None,
              help="make pixels square; by default where the picture is scaled anyway")  # fmt: skip
@click.option("--region", metavar="LEFT,TOP,WIDTH,HEIGHT", default="", help="cut out, in pixels of the image")
@click.option("--rotate", type=click.Choice(["90", "180", "270"]), default=None, help="turn clockwise")
@click.option("--flip", type=click.Choice(["horizontal", "vertical", "both"]), default=None, help="exchange sides")
@click.option("--overlays/--no-overlays", default=False, help="draw overlays")
@click.option("-ps", "--presentation-state", "state", metavar="FILE", default="", help="show as this object says")
@click.option("--annotations/--no-annotations", default=True, help="draw those of the presentation state")
@click.option("--shutters", is_flag=True, help="apply the display shutter of the image")
@click.option("+P", "--invert", "--change-polarity", is_flag=True, help="bright becomes dark")
@click.option("+G", "--grayscale", is_flag=True, help="colours become grey levels")
@click.option("--icc", is_flag=True, help="bring colours from the object's ICC profile to sRGB")
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", help="of a sample, in PNG, PNM and TIFF")
@click.option("--montage", metavar="COLUMNS[xROWS]", default="", help="all pictures on one sheet")
@click.option("--fps", type=click.FloatRange(0.01, 100), default=None, metavar="RATE",
              help="frames in a second of a moving GIF; by default as the object says, else 10")  # fmt: skip
@click.option("--preview", type=click.Choice(["auto", "kitty", "sixel", "blocks"]), default=None,
              help="show in the terminal, in this way; so without OUT where stdout is a terminal")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=None, metavar="NUMBER", help="files at a time")
@click.option("--padding/--no-padding", default=True, help="pixel padding is black, and in no measurement")
@click.option("+r/-r", "--recurse/--no-recurse", default=True, help="enter directories within directories")
@click.option("+sp", "--scan-pattern", metavar="PATTERN", default="", help="in directories, only such file names")
@click.option("+F", "--select-frame", "one_frame", metavar="NUMBER", default=None, help="this frame")
@click.option(
    "+Fr", "--frame-range", nargs=2, type=int, default=None, metavar="NUMBER COUNT", help="so many from one on"
)
@_choice("+Fa", "--all-frames", to="frame_all", value=True, help="all frames")
@_choice("+Fc", "--use-frame-counter", to="counter", value=True, help="names of frames count from 0")
@_choice("+Fn", "--use-frame-number", to="counter", value=False, help="names of frames have their numbers; by default")
@_choice("+Rl", "--rotate-left", to="turn", value=270, help="turn to the left")
@_choice("+Rr", "--rotate-right", to="turn", value=90, help="turn to the right")
@_choice("+Rtd", "--rotate-top-down", to="turn", value=180, help="turn upside down")
@_choice("+Lh", "--flip-horizontally", to="mirror", value="horizontal", help="exchange left and right")
@_choice("+Lv", "--flip-vertically", to="mirror", value="vertical", help="exchange top and bottom")
@_choice("+Lhv", "--flip-both-axes", to="mirror", value="both", help="exchange both")
@click.option("+i", "--interpolate", "algorithm", type=click.IntRange(0, 4), default=None, metavar="NUMBER",
              help="interpolate when scaling; 1 is the best way for the size")  # fmt: skip
@_choice("-i", "--no-interpolation", to="plain", value=True, help="scale without interpolation")
@click.option("-S", "--no-scaling", is_flag=True, help="leave the size; by default")
@click.option("+Sxf", "--scale-x-factor", "x_factor", type=_FACTOR, default=None, metavar="FACTOR",
              help="scale columns, and rows in proportion")  # fmt: skip
@click.option("+Syf", "--scale-y-factor", "y_factor", type=_FACTOR, default=None, metavar="FACTOR",
              help="scale rows, and columns in proportion")  # fmt: skip
@click.option("+Sxv", "--scale-x-size", "x_size", type=click.IntRange(1), default=None, metavar="NUMBER",
              help="so many columns, and rows in proportion")  # fmt: skip
@click.option("+Syv", "--scale-y-size", "y_size", type=click.IntRange(1), default=None, metavar="NUMBER",
              help="so many rows, and columns in proportion")  # fmt: skip
@click.option("+M/-M", "--use-modality/--no-modality", "modality", default=True, help="apply the modality LUT")
@_choice("-W", "--no-windowing", to="all_values", value="none", help="from the least to the greatest possible value")
@_choice(
    "+Wm", "--min-max-window", to="all_values", value="minmax", help="from the least to the greatest value there is"
)
@_choice("+Wn", "--min-max-window-n", to="all_values", value="minmax-inner", help="the same without these two")
@_four("+Wr", "--roi-min-max-window", to="window_of", help="the same, of a part of the image")
@click.option("+Wh", "--histogram-window", "histogram", type=click.FloatRange(0, 49), default=None, metavar="PERCENT",
              help="without so many percent at both ends")  # fmt: skip
@click.option("+Ww", "--set-window", nargs=2, type=float, default=None, metavar="CENTER WIDTH", help="a window")
@_choice("+Wfl", "--linear-function", to="curve", value="linear", help="VOI LUT function LINEAR")
@_choice("+Wfs", "--sigmoid-function", to="curve", value="sigmoid", help="VOI LUT function SIGMOID")
@_choice("+Pid", "--identity-shape", to="shape", value="IDENTITY", help="presentation LUT shape IDENTITY")
@_choice("+Piv", "--inverse-shape", to="shape", value="INVERSE", help="presentation LUT shape INVERSE")
@click.option("-O", "--hide-overlays", is_flag=True, help="draw no overlays")
@click.option("+O", "--display-overlay", multiple=True, metavar="NUMBER", help="draw an overlay, 1 to 16; 0 is all")
@_choice("+Omr", "--ovl-replace", to="overlay_mode", value="replace", help="overlays in white")
@_choice("+Omt", "--ovl-threshold", to="overlay_mode", value="threshold", help="overlays in black where it is bright")
@_choice("+Omc", "--ovl-complement", to="overlay_mode", value="complement", help="overlays exchange dark and bright")
@_choice("+Omv", "--ovl-invert", to="overlay_mode", value="invert", help="overlays invert")
@_choice("+Omi", "--ovl-roi", to="overlay_mode", value="roi", help="only what is in overlays is left")
@click.option("+Osf", "--set-foreground", "overlay_level", type=click.FloatRange(0, 1), default=1.0, metavar="DENSITY",
              help="brightness of overlays")  # fmt: skip
@click.option("+Ost", "--set-threshold", "overlay_threshold", type=click.FloatRange(0, 1), default=0.5,
              metavar="DENSITY", help="what is bright")  # fmt: skip
@_four("+C", "--clip-region", to="clip", help="cut out")
@_choice("+op", "--write-raw-pnm", to="kind", value="pnm", help="write PNM")
@_choice("+oa", "--write-auto", to="kind", value="auto", help="as OUT ends; by default")
@_choice("+opb", "--write-8-bit-pnm", to="kind", value="plain8", help="write PNM of 8 bits, in letters")
@_choice("+opw", "--write-16-bit-pnm", to="kind", value="plain16", help="write PNM of 16 bits, in letters")
@click.option("+opn", "--write-n-bit-pnm", "pnm_bits", type=click.IntRange(1, 16), default=None, metavar="BITS",
              help="write PNM of so many bits, in letters")  # fmt: skip
@_choice("+ob", "--write-bmp", to="kind", value="bmp", help="write BMP")
@_choice("+obp", "--write-8-bit-bmp", to="kind", value="bmp8", help="write BMP of 8 bits")
@_choice("+obt", "--write-24-bit-bmp", to="kind", value="bmp24", help="write BMP of 24 bits")
@_choice("+obr", "--write-32-bit-bmp", to="kind", value="bmp32", help="write BMP of 32 bits")
@_choice("+ol", "--write-jpls", to="kind", value="jls", help="write JPEG-LS")
@_choice("+f8", "--force-8-bit", to="forced", value=8, help="of 8 bits")
@_choice("+ot", "--write-tiff", to="kind", value="tiff", help="write TIFF")
@_choice("+on", "--write-png", to="kind", value="png", help="write PNG")
@_choice("+on2", "--write-16-bit-png", to="kind", value="png16", help="write PNG of 16 bits")
@_choice("+oj", "--write-jpeg", to="kind", value="jpeg", help="write JPEG")
@_choice("+Js4", "--sample-444", to="subsampling", value="444", help="JPEG with all of its colours")
@_choice("+Js2", "--sample-422", to="subsampling", value="422", help="JPEG with half of its colours")
@_choice("+Js1", "--sample-411", to="subsampling", value="411", help="JPEG with a quarter of its colours")
@_choice("+Tl", "--compr-lzw", to="compression", value="lzw", help="TIFF with LZW; by default")
@_choice("+Tr", "--compr-rle", to="compression", value="packbits", help="TIFF with RLE")
@_choice("+Tn", "--compr-none", to="compression", value="none", help="TIFF without compression")
@_choice("+Ph", "--predictor-horz", to="differences", value=True, help="LZW of horizontal differences")
@click.option("+Rs", "--rows-per-strip", type=click.IntRange(0, 0xFFFFF), default=0, metavar="ROWS",
              help="of a TIFF; 0 is as its library wants")  # fmt: skip
@_choice("+cp", "--conv-photometric", to="as_always", value=1, help="colours as the codestream says; always so")
@_choice("+cl", "--conv-lossy", to="as_always", value=1, help="likewise")
@_choice("+cg", "--conv-guess", to="as_always", value=1, help="likewise")
@_choice("+cgl", "--conv-guess-lossy", to="as_always", value=1, help="likewise")
@click.option("-im", "--image-info", is_flag=True, help="print what an image is, and how it wants to be shown")
@click.option("--no-output", is_flag=True, help="render, but write nothing")
@click.option("--as-dcmj2pnm", "like_dcmtk", is_flag=True, hidden=True)
@_dcmtk_only
def command(paths: tuple[str, ...], **options: Any) -> ExitCode:
    """Render images as their objects want them shown, or otherwise, into files other programs show.

    OUT is a file for one picture, else a directory, in which pictures are called as their files are. Several frames
    of one image become a moving GIF, or files with their numbers. Files appear when they are complete. Files that
    cannot be rendered are named on stderr and stop nothing.

    With DCMTK's names for options, as dcmj2pnm and dcm2img; a link to dcmkit that is called so takes
    DCMTK's operands, an input and an output file, and has DCMTK's defaults: no window, overlays drawn, and PNM where
    the output file does not end in the name of another format. What DCMTK has and dcmkit has not is refused.
    """
    options = _merged(options)
    if options["like_dcmtk"]:
        paths, options = _like_dcmtk(paths, options)
    if not paths:
        raise NoInputError("no files to render", hint="name files or directories")
    return _Run(paths, options).run()


def _merged(options: dict[str, Any]) -> dict[str, Any]:
    """One value for what can be said in several ways."""
    frame = "all" if options["frame_all"] else options["frame"] or options["one_frame"]
    if options["frame_range"] is not None:
        first, count = options["frame_range"]
        frame = f"{first}-{first + count - 1}"
    kind = "plain16" if options["pnm_bits"] else options["kind"] or ""
    bits = 16 if options["bits"] == "16" or kind.endswith("16") else 8
    form = {"auto": "", "plain": "pnm"}.get(kind.rstrip("0123456789"), kind.rstrip("0123456789"))
    if options["image_info"] and not options["output"] and not options["preview"] and not options["like_dcmtk"]:
        options["no_output"] = True
    if kind == "bmp8":
        options["grayscale"] = True
    if options["no_scaling"]:
        options.update(size="", viewport="", scale=None, x_factor=None, y_factor=None, x_size=None, y_size=None)
    return {
        **options,
        "frame": frame,
        "bits": options["forced"] or bits,
        "kind": kind,
        "form": options["form"] or form or None,
        "window": options["all_values"] or options["window"],
        "function": options["curve"] or options["function"],
        "rotate": options["turn"] or int(options["rotate"] or 0),
        "flip": options["mirror"] or options["flip"],
        "interpolation": "nearest" if options["plain"] else options["interpolation"],
    }


def _like_dcmtk(paths: tuple[str, ...], options: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Operands and defaults of dcmj2pnm."""
    if len(paths) > 2:
        raise UsageError(f"unexpected argument {paths[2]!r}", hint="dcmj2pnm takes an input and an output file")
    asked = ("window", "preset", "voi_lut", "percentiles", "histogram", "window_of", "set_window")
    if all(options[name] in (None, "") for name in asked):
        options["window"] = "none"
    options["padding"] = False
    options["overlays"] = not options["hide_overlays"]
    options["counter"] = options["counter"] is not False
    options["output"] = output = paths[1] if len(paths) == 2 else options["output"] or "-"
    if options["form"] is None and (output == "-" or not is_known(output)):
        options["form"] = "pnm"
        options["kind"] = "plain8" if output == "-" else "pnm"
    return paths[:1], options


class _Run:
    """One call of the command: its pictures, where they go, and what failed."""

    def __init__(self, paths: tuple[str, ...], options: dict[str, Any]) -> None:
        self._paths, self._options = paths, options
        self._output: str = options["output"]
        self._done = self._failed = 0
        self._how: Rendering = given_by.rendering(options)
        self._montage = given_by.montage(options["montage"]) if options["montage"] else None
        self._to_terminal = bool(options["preview"])
        if not self._output and not options["no_output"] and not self._to_terminal:
            if not environment.stdout_is_terminal:
                raise UsageError(
                    "no output: where to is not said", hint="name a file or directory with -o, or - for stdout"
                )
            self._to_terminal = True
        self._media_type = media_type_for(self._output, options["form"])

    def run(self) -> ExitCode:
        """Render everything; the exit code."""
        files = list(find_files(self._paths, self._problem, recurse=self._options["recurse"],
                                pattern=self._options["scan_pattern"]))  # fmt: skip
        if not files:
            if not self._failed:
                raise NoInputError("no files to render: the directories are empty")
            return ExitCode.NO_VALID_INPUT_FILES
        several = len(files) > 1 or any(os.path.isdir(path) for path in self._paths)
        names = Names(self._output, self._paths, several and self._montage is None, self._media_type)
        if self._montage is not None:
            self._sheet(files)
        elif self._output == "-" and several:
            raise UsageError("stdout takes one picture only", hint="name a directory with -o")
        else:
            self._all(files, names)
        log.info("%d rendered, %d failed", self._done, self._failed)
        if not self._failed:
            return ExitCode.DONE
        return ExitCode.PARTLY_DONE if self._done else ExitCode.NOTHING_DONE

    def _all(self, files: list[str], names: Names) -> None:
        from concurrent.futures import ThreadPoolExecutor

        jobs = self._options["jobs"] or min(4, os.cpu_count() or 1)
        if self._to_terminal or len(files) == 1:
            jobs = 1
        targets = [names.of(path) for path in files]

        def one(path: str, target: str) -> tuple[str, DcmkitError | None]:
            try:
                self._file(path, target)
            except DcmkitError as error:
                return path, error
            return path, None

        with Progress("rendering", objects=len(files)) as progress, ThreadPoolExecutor(jobs) as pool:
            found = map(one, files, targets) if jobs == 1 else pool.map(one, files, targets)
            for path, error in found:
                if error is not None:
                    self._problem(path, error)
                else:
                    self._done += 1
                progress.advance()

    def _problem(self, path: str, error: DcmkitError) -> None:
        self._failed += 1
        say(f"{path}: {error}")

    def _file(self, path: str, target: str) -> None:
        """All the pictures of one file."""
        from dcmkit.pixels.image_file import ImageFile
        from dcmkit.pixels.pictures import GIF

        with ImageFile(path) as image:
            numbers = self._frames(path, image)
            if self._options["no_output"] and self._options["image_info"]:
                return
            if len(numbers) > 1 and self._media_type == GIF and not self._to_terminal:
                self._animate(path, image, numbers, target)
                return
            if len(numbers) > 1 and self._output == "-":
                raise UsageError("stdout takes one picture only", hint="name a file or directory with -o")
            for count, number in enumerate(numbers):
                picture = self._picture(image, number)
                if self._to_terminal:
                    self._show(picture)
                    continue
                name = count if self._options["counter"] else number + 1
                self._write(Names.numbered(target, name) if len(numbers) > 1 else target, self._encoded(picture), path)

    def _tell(self, path: str, image: ImageFile, numbers: range) -> None:
        """What an image is, where no picture goes."""
        from dcmkit.cli.image_info import described

        lines = described(path, image, numbers)
        if self._output == "-" and not self._options["no_output"]:
            for line in lines:
                say(line)
            return
        with stdout_errors():
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()

    def _frames(self, path: str, image: ImageFile) -> range:
        """Those to render, after saying what is odd about the file."""
        if image.description is None:
            raise InvalidDataSetError("there is no image in it: the object has no pixel data")
        for warning in image.warnings:
            log.warning("%s: %s", path, warning)
        numbers = given_by.frames(self._options["frame"] or "1", image.number_of_frames)
        if self._options["image_info"]:
            self._tell(path, image, numbers)
        return numbers

    def _picture(self, image: ImageFile, number: int) -> Any:
        from dcmkit.pixels.raster import colored
        from dcmkit.pixels.render import render

        picture = render(image, number, self._how)
        return colored(picture) if self._options["kind"] == "bmp24" else picture

    def _encoded(self, picture: Any) -> bytes:
        from dcmkit.pixels.pictures import Form, encode_rendered

        options, kind = self._options, self._options["kind"]
        form = Form(
            options["subsampling"] or "", options["compression"] or "", bool(options["differences"]),
            options["rows_per_strip"], kind.startswith("plain"), options["pnm_bits"] or 0, kind == "bmp32",
        )  # fmt: skip
        return encode_rendered(picture, self._media_type, options["quality"], form)

    def _animate(self, path: str, image: ImageFile, numbers: range, target: str) -> None:
        """A moving GIF."""
        from dcmkit.pixels.pictures import encode_animation
        from dcmkit.pixels.render import frame_delays

        rate = self._options["fps"]
        delays = [1000 / rate] * len(numbers) if rate else [frame_delays(image)[number] for number in numbers]
        data = encode_animation((self._picture(image, number) for number in numbers), delays)
        self._write(target, data, path)

    def _sheet(self, files: list[str]) -> None:
        """All pictures on one sheet."""
        from dcmkit.pixels.raster import montage

        assert self._montage is not None
        across, down = self._montage
        pictures: list[Any] = []
        most = across * down or 10_000
        for path in files:
            try:
                for picture in self._pictures_of(path):
                    if len(pictures) < most:
                        pictures.append(picture)
                self._done += 1
            except DcmkitError as error:
                self._problem(path, error)
            if len(pictures) >= most:
                break
        if not pictures:
            return
        sheet = montage(pictures, across, down)
        if self._to_terminal:
            self._show(sheet)
        else:
            self._write(self._output, self._encoded(sheet), "")

    def _pictures_of(self, path: str) -> Iterator[Any]:
        from dcmkit.pixels.image_file import ImageFile

        with ImageFile(path) as image:
            for number in self._frames(path, image):
                yield self._picture(image, number)

    def _write(self, target: str, data: bytes, source: str) -> None:
        if self._options["no_output"]:
            return
        if target == "-":
            with stdout_errors():
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            return
        if source and os.path.exists(target) and os.path.samefile(source, target):
            raise UsageError(f"{target} is the image itself", hint="choose another name")
        write_atomically(target, data)

    def _show(self, picture: Any) -> None:
        """Show a picture in the terminal."""
        from shutil import get_terminal_size

        from dcmkit.pixels.terminal import preview, protocol_of

        wanted = self._options["preview"] or "auto"
        room = get_terminal_size()
        if picture.dtype.itemsize == 2:
            picture = (picture >> 8).astype("u1")
        protocol = protocol_of(os.environ) if wanted == "auto" else wanted
        with stdout_errors():
            sys.stdout.write(preview(picture, protocol, room.columns, max(2, room.lines - 2)))
            sys.stdout.flush()

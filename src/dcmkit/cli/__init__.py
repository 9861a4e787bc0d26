"""The program `dcmkit`. Called through a link named `storescu`, `echoscu`, ... it behaves as that program."""

from __future__ import annotations

import gc
import sys

_CONVERTERS = frozenset({
    "dcmconv", "dcmcjpeg", "dcmdjpeg", "dcmcjpls", "dcmdjpls", "dcmcrle", "dcmdrle", "gdcmconv",
})  # fmt: skip
"""Programs of others that `dcmkit transcode` behaves as."""


def main(argv: list[str] | None = None) -> None:
    """Run dcmkit with `argv` (default: the process's own, program name first) and exit.

    What needs no parser is answered before click is imported: help, version, and what shells ask while completing.
    """
    program, *args = sys.argv if argv is None else argv
    tool = program_name(program)
    if tool != "dcmkit":
        args = [tool, *(_render_as_dcmtk(args) if tool == "render" and _base(program) != "render" else args)]
    converter = _base(program) if tool == "transcode" else args[0] if args else ""
    if converter in _CONVERTERS:
        args = ["transcode", "--as", converter, *args[1:]]
    if not args or args[0] in ("-h", "--help"):
        from dcmkit.cli.startup import overview

        (sys.stdout if args else sys.stderr).write(overview())
        sys.exit(0 if args else 1)
    if args == ["--version"]:
        from dcmkit import __version__

        sys.stdout.write(f"dcmkit {__version__}\n")
        sys.exit(0)
    if args[0] == "--complete":
        from dcmkit.cli.completion import main as complete

        sys.exit(complete(args[1:]))
    # Objects made while starting live as long as the process: the garbage collector need not look at them, neither
    # now (2 ms), nor while the command runs, nor at the end (3 ms). `startup.started` switches it on again.
    gc.disable()
    from dcmkit.cli.group import group
    from dcmkit.cli.output import prepare_stdout

    prepare_stdout()
    try:
        group.main(args, "dcmkit")
    finally:
        gc.freeze()


def program_name(path: str) -> str:
    """The subcommand a link's name stands for, or "dcmkit"."""
    name = _base(path)
    if name in ("dcmkit", "__main__"):
        return "dcmkit"
    from dcmkit.cli.startup import command_names

    names = command_names()
    if name in _CONVERTERS:
        return "transcode"
    name = "render" if name in ("dcmj2pnm", "dcm2pnm", "dcml2pnm", "dcm2img") else name
    for tool in (name, name.removeprefix("dcm")):  # DCMTK's dcmdump and dcmqrscp are dump and qrscp here
        if tool in names:
            return tool
    return "dcmkit"


def _base(path: str) -> str:
    """The name of a program without directory and ending."""
    name = path.replace("\\", "/").rpartition("/")[2]
    for suffix in (".exe", ".py", ".pyw"):
        name = name.removesuffix(suffix)
    return name


def _render_as_dcmtk(args: list[str]) -> list[str]:
    """Arguments of dcmj2pnm as `dcmkit render` takes them: there -o has another meaning."""
    return ["--as-dcmj2pnm", *("--no-output" if arg == "-o" else arg for arg in args)]

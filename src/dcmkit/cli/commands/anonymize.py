"""Take the identity out of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.options import Tool
from dcmkit.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = (
    ("A key, once; who has it can tell whose pseudonym it is", "dcmkit anonymize keygen study.key"),
    ("A folder, by the Basic Profile", "dcmkit anonymize study/ -o anonymous/ --key study.key"),
    ("Dates moved by the patient, descriptions cleaned",
     "dcmkit anonymize study/ -o anonymous/ --key study.key --retain-modified-dates --clean-descriptors"),
    ("Text in the upper 60 rows of ultrasound blanked", "dcmkit anonymize us/ -o anonymous/ --blank 0,0,1024,60"),
    ("Identities that are given, and which UID became which",
     "dcmkit anonymize study/ -o anonymous/ --map ids.csv --map-out ids-out.csv"),
    ("What could still identify somebody, and by which rule it would go", "dcmkit anonymize --check anonymous/"),
    ("What each option does", "dcmkit anonymize --list-profile"),
)  # fmt: skip

_OPTIONS = {
    "retain-safe-private": "private attributes that PS3.15 knows to be safe stay",
    "retain-uids": "UIDs stay",
    "retain-device-identity": "serial numbers and names of devices stay",
    "retain-institution-identity": "name and address of the institution stay",
    "retain-patient-characteristics": "sex, age, size, weight and the like stay",
    "retain-full-dates": "dates and times stay",
    "retain-modified-dates": "dates stay, moved by as many days for all of a patient",
    "clean-descriptors": "descriptions stay, without words that are not known to be harmless",
    "clean-structured-content": "content of structured reports stays, cleaned",
    "clean-graphics": "annotations and regions of interest stay, cleaned",
    "clean-pixel-data": "regions of the rules or --blank are blanked, and it is said so",
    "clean-recognizable-visual-features": "faces are blanked by such regions",
}


class Anonymize(Tool):
    """`anonymize keygen FILE` is `anonymize --keygen FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate it first."""
        if args[:1] == ["keygen"]:
            args = ["--keygen", *args[1:]]
        return super().parse_args(ctx, args)


def _profile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, meaning in reversed(_OPTIONS.items()):
        command = click.option(f"--{name}", is_flag=True, help=meaning)(command)
    return command


@click.command("anonymize", cls=Anonymize)
@click.argument("paths", nargs=-1, metavar="FILES...")
@click.option("-o", "--output", metavar="OUT", default="", help="directory to write, or file for a single one")
@click.option("--profile", metavar="NAMES", default="basic",
              help="basic, and names of options after commas [default: basic]")  # fmt: skip
@_profile_options
@click.option("--key", metavar="FILE", default="",
              help="secret that pseudonyms are made with [default: one of this run]")  # fmt: skip
@click.option("--keygen", metavar="FILE", default="", help="write a new key")
@click.option("--map", "map_file", metavar="FILE", default="", help="CSV of given identities: id_old,id_new")
@click.option("--map-out", metavar="FILE", default="", help="write which identity and UID became which")
@click.option("--map-format", type=click.Choice(["csv", "midi-b"]), default="csv", help="of --map-out [default: csv]")
@click.option("--rules", metavar="FILE", default="", help="TOML file of actions, words, regions")
@click.option("--blank", metavar="X,Y,W,H", multiple=True, help="blank a region of every image; may be repeated")
@click.option("--uid-root", metavar="UID", default="2.25", help="what new UIDs begin with [default: 2.25]")
@click.option("--names", type=click.Choice(["uid", "short"]), default="uid",
              help="names of files: UIDs, or eight characters as a DICOMDIR has them [default: uid]")  # fmt: skip
@click.option("--verify/--no-verify", default=None,
              help="search outputs for what was removed [default: up to 1000 files]")  # fmt: skip
@click.option("--report", metavar="FILE", default="",
              help="write what was done with each file, JSON, or text for *.txt")  # fmt: skip
@click.option("--jobs", type=click.IntRange(0, 256), default=0, metavar="NUMBER",
              help="files at a time (0: one per core) [default: 0]")  # fmt: skip
@click.option("--check", is_flag=True, help="tell what could identify somebody, and write nothing")
@click.option("--list-profile", is_flag=True, help="show the options, their codes and the edition of PS3.15")
@click.option("--format", "form", type=click.Choice(["table", "json", "jsonl", "csv"]), default="table",
              help="of --check and --list-profile [default: table]")  # fmt: skip
@click.option("+r/-r", "--recurse/--no-recurse", default=True, help="enter directories within directories")
@click.option("+sp", "--scan-pattern", metavar="PATTERN", default="", help="in directories, only such file names")
def command(**given: Any) -> ExitCode:
    """Take the identity out of DICOM files, and of what is in directories, by PS3.15 Annex E.

    The Basic Profile and its options decide on each attribute at any depth, file meta information, private attributes,
    file names and comments in codestreams included. What cannot be made safe is not written but listed with its
    reason. Pseudonyms come from a key: the same in every run with it, and of no use without it.

    With --check nothing is written: it lists what the profile would change, attributes that say how an object was
    de-identified and are missing, and what makes its pixels suspect. The exit code is 12 when there is anything.
    """
    from dcmkit.cli import anonymizing

    if given["keygen"]:
        return anonymizing.keygen(given["keygen"])
    if given["list_profile"]:
        return anonymizing.list_profile(given["form"])
    options = [name for name in _OPTIONS if given[name.replace("-", "_")]]
    if given["check"]:
        return anonymizing.check(given, options)
    return anonymizing.run(given, options)

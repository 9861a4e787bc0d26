"""DCMTK's converters, and gdcmconv, as `dcmkit transcode` with other defaults: their options in its words.

Each table has a line for a group of options: their spellings, then what they stand for; `*` is their value. What is
understood and changes nothing, since it is always so or does not matter, stands for nothing. An option that is in no
table is refused, never passed over.
"""

from __future__ import annotations

from dcmkit.cli.dcmtk import has_option
from dcmkit.errors import UsageError

_READING = """
+f --read-file +fo --read-file-only -f --read-dataset -t= --read-xfer-auto -td --read-xfer-detect:
"""
_WRITING = """
+F --write-file +u --enable-new-vr -p= --padding-retain -p --padding-off:
+g= --group-length-recalc: --group-lengths recalculate
+g --group-length-create: --group-lengths create
-g --group-length-remove: --group-lengths remove
+e --length-explicit: --lengths defined
-e --length-undefined: --lengths undefined
"""
_NATIVE = """
+te --write-xfer-little: --to explicit
+tb --write-xfer-big: --to big-endian
+ti --write-xfer-implicit: --to implicit
"""
_ENCAPSULATED = """
+ff --fragment-per-frame +cd --class-default:
+fs --fragment-size: --fragment-size *k
+ot --offset-table-create: --offset-table basic
-ot --offset-table-empty: --offset-table empty
"""
_UID = """
+ud --uid-default: --uid default
+ua --uid-always: --uid always
+un --uid-never: --uid never
"""
_DECODING = "+wi --workaround-incpl:"

_TABLES = {
    "dcmconv": _READING + _WRITING + _NATIVE + """
+t= --write-xfer-same: --to same
+td --write-xfer-deflated: --to deflated
+cl --compression-level: --deflate-level *
+ml --use-meta-length +ao --accept-odd-length +ev --use-explicit-vr +vr --treat-as-unknown:
+ui --enable-cp246 -uc --retain-un -sq --maxlength-dict -rd --use-delim-items -oi --illegal-obow-rej:
-vi --illegal-voi-rej -pe --abort-expl-pixdata -Ep --handle-parse-errors +dc --enable-correction:
+bd --bitstream-deflated +Fm --write-new-meta-info -eo --abort-oversized:
""",
    "dcmcjpeg": _READING + _WRITING + _ENCAPSULATED + _UID + _DECODING + """
+e1 --encode-lossless-sv1: --to jpeg-lossless
+el --encode-lossless: --to jpeg-lossless-14 --predictor 6
+eb --encode-baseline: --to jpeg
+ee --encode-extended: --to jpeg-extended
+sv --selection-value: --predictor *
+q --quality: --quality *
+cy --color-ybr +s2 --sample-422: --subsampling 422
+s4 --nonstd-444: --subsampling 444
+cr --color-rgb: --subsampling rgb
+tl --true-lossless +ho --huffman-optimize -ho --huffman-standard +ba --bits-auto -W --no-windowing:
+sp --scaling-pixel +ri --rescale-identity +cp --conv-photometric +w6 --workaround-pred6:
+wc --workaround-cornell +Mp --accept-palettes:
""",
    "dcmdjpeg": _READING + _WRITING + _NATIVE + _UID + _DECODING + """
+cp --conv-photometric +cg --conv-guess +ca --conv-always: --rgb
+cl --conv-lossy +cgl --conv-guess-lossy: unsaid
+cn --conv-never: --no-rgb
+pa --planar-auto +px --color-by-pixel +w6 --workaround-pred6 +wc --workaround-cornell:
""",
    "dcmcjpls": _READING + _WRITING + _ENCAPSULATED + _UID + """
+el --encode-lossless: --to jpegls
+en --encode-nearlossless: --to jpegls-near
+md --max-deviation: --near *
+pr --prefer-raw +pc --prefer-cooked +il --interleave-line +iv --interleave-default +ps --padding-standard:
+pz --padding-zero:
""",
    "dcmdjpls": _READING + _WRITING + _NATIVE + _UID + _DECODING + """
+pr --planar-restore +pa --planar-auto +px --color-by-pixel +io --ignore-offsettable:
""",
    "dcmcrle": _READING + _WRITING + _ENCAPSULATED + _UID,
    "dcmdrle": _READING + _WRITING + _NATIVE + _UID + "+bd --byte-order-default:",
    "gdcmconv": """
-i --input: *
-o --output: --output *
-X --explicit -w --raw: --to explicit
-M --implicit: --to implicit
-d --deflated: --to deflated
-J --jpeg: --to jpeg-lossless
-K --j2k: --to j2k
-L --jpegls: --to jpegls
-R --rle: --to rle
-l --lossy: --lossy
-q --quality: --quality *
-E --lossy-error: --near *
-Y --irreversible: --lossy
""",
}  # fmt: skip
_UNSAID, _COLORS = ["unsaid"], ("--rgb", "--no-rgb")
"""What `dcmkit transcode` does with colours unless it is told."""
_DEFAULTS = {
    "dcmconv": "--to same --lengths defined --group-lengths recalculate",
    "dcmcjpeg": "--to jpeg-lossless --lengths defined --group-lengths recalculate",
    "dcmdjpeg": "--to explicit --rgb --lengths defined --group-lengths recalculate",
    "dcmcjpls": "--to jpegls --lengths defined --group-lengths recalculate",
    "dcmdjpls": "--to explicit --lengths defined --group-lengths recalculate",
    "dcmcrle": "--to rle --lengths defined --group-lengths recalculate",
    "dcmdrle": "--to explicit --lengths defined --group-lengths recalculate",
    "gdcmconv": "--to same",
}
TOOLS = tuple(_TABLES)
_OUR_OWN = {
    "-h", "--help", "--version", "-q", "--quiet", "-v", "--verbose", "-d", "--debug", "--no-verify",
    "--log-patient-data",
}  # fmt: skip
_OUR_OWN_WITH_VALUE = {"-ll", "--log-level", "--log-format", "--config", "--jobs", "--report"}


def translated(tool: str, args: list[str]) -> list[str]:
    """Arguments of a tool as arguments of `dcmkit transcode`.

    Raises:
        UsageError: an option is not known, or there are not the two operands that the tools have.
    """
    table = _table(_TABLES[tool])
    given = _DEFAULTS[tool].split()
    operands: list[str] = []
    rest = list(reversed(args))
    while rest:
        arg = rest.pop()
        if arg == "--":
            operands += reversed(rest)
            break
        name, equals, attached = arg.partition("=") if arg.startswith("--") else (arg, "", "")
        if arg in table:
            name, equals = arg, ""
        if len(name) < 2 or name[0] not in "-+" or name[1].isdigit():
            operands.append(arg)
            continue
        words = _words(tool, table, name)
        if words == _UNSAID:
            given = [word for word in given if word not in _COLORS]
        elif "*" in "".join(words):
            value = attached if equals else _value(name, rest)
            given += [word.replace("*", value) for word in words]
        else:
            given += words
    if any(word in ("-h", "--help", "--version") for word in given):
        return given
    if "--output" in given:
        return [*given, "--overwrite", "--", *operands]
    inputs = [word for word in operands if word]
    if len(inputs) != 2:
        raise UsageError(f"{tool} takes two operands, dcmfile-in and dcmfile-out", hint=f"{len(inputs)} were given")
    return [*given, "--overwrite", "--output", inputs[1], "--", inputs[0]]


def _words(tool: str, table: dict[str, list[str]], name: str) -> list[str]:
    if name in table:
        return table[name]
    if name in _OUR_OWN:
        return [name]
    if name in _OUR_OWN_WITH_VALUE:
        return [name, "*"]
    if has_option(tool, name):
        raise UsageError(
            f"option {name} is DCMTK's; dcmkit {tool} does not have it yet",
            hint="nothing was done; dcmkit transcode --help lists what there is",
        )
    raise UsageError(f"no such option: {name}", hint=f"{tool} here is dcmkit transcode with the options of that tool")


def _value(name: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"option {name} needs a value")
    return rest.pop()


def _table(lines: str) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for line in lines.strip().splitlines():
        names, _, words = line.partition(":")
        table.update(dict.fromkeys(names.split(), words.split()))
    return table

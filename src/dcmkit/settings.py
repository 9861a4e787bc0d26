"""Every option shared by tools, declared once.

A settings class names its options as fields, each made by `option()`, which carries DCMTK's spellings, the help text
and the range. From that one declaration come the click option, the key in the configuration file (`[section]
field_name`), the environment variable (`DCMKIT_FIELD_NAME`), the line in the man page and the completion
(`cli/options.py`). Precedence: command line, environment, configuration file, tool default, class default.

Settings are frozen dataclasses in all but the machinery: `dataclasses` writes and compiles source text for every class
and takes 7 ms of every start for the classes below, where `Settings` takes 0.3 ms.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from dcmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """What type checkers read; nothing at run time (`typing` has it from Python 3.11 only)."""
        return lambda cls: cls


_SettingsT = TypeVar("_SettingsT", bound="Settings")


class Shortcut(NamedTuple):
    """Flags without a value that stand for one value of an option: `-v` for `--log-level info`."""

    flags: tuple[str, ...]
    value: Any
    help: str


class Option:
    """How one settings field is spelt and checked.

    Attributes:
        name: the field's name.
        default: the class default; its type (bool, int, float, str, tuple of str) is the option's.
        flags: the spellings on the command line, DCMTK's first (`("-aet", "--aetitle")`); none: configuration only.
        help: one sentence, lower case, no full stop; the default is appended by whoever prints it.
        metavar: the name of the value in help texts; "" for a flag.
        choices: the values allowed, where they are few.
        minimum, maximum: the inclusive range of a number.
        unit: "seconds", "bytes", ... for the man page.
        complete: what a shell may offer: "file", "directory", "node", "transfer-syntax", "sop-class" or "".
        off_flags: for a boolean, the spellings that switch it off.
        shortcuts: flags that stand for one value each.
        secret: never shown in `config show`, logs, `repr()` or the process title.
        multiple: may be given several times; the field is a tuple.
        check: gets a text that is otherwise good, returns it (perhaps tidied) or raises UsageError.
    """

    __slots__ = (
        "check", "choices", "complete", "default", "flags", "help", "maximum", "metavar", "minimum", "multiple", "name",
        "off_flags", "secret", "shortcuts", "unit",
    )  # fmt: skip

    def __init__(
        self,
        flags: tuple[str, ...],
        help: str,  # noqa: A002 - click's own word
        *,
        default: Any = "",
        metavar: str = "",
        choices: tuple[str, ...] = (),
        minimum: float | None = None,
        maximum: float | None = None,
        unit: str = "",
        complete: str = "",
        off_flags: tuple[str, ...] = (),
        shortcuts: tuple[Shortcut, ...] = (),
        secret: bool = False,
        multiple: bool = False,
        check: Callable[[str], str] | None = None,
    ) -> None:
        self.name = ""
        self.default = default
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.choices = choices
        self.minimum = minimum
        self.maximum = maximum
        self.unit = unit
        self.complete = complete
        self.off_flags = off_flags
        self.shortcuts = shortcuts
        self.secret = secret
        self.multiple = multiple
        self.check = check

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value on the command line."""
        return isinstance(self.default, bool)

    @property
    def environment_variable(self) -> str:
        """`DCMKIT_` and the field's name in capitals."""
        return f"DCMKIT_{self.name.upper()}"

    def convert(self, value: Any) -> Any:
        """The field's value from a text (command line, environment) or a TOML value, checked.

        Raises:
            UsageError: it is not of the option's type, not one of the choices, or out of range. The message says what
                is wrong with the value; the caller puts before it where the value came from.
        """
        if self.secret and not isinstance(value, (str, list, tuple)):
            raise UsageError("it is not a text")  # and is not repeated
        if self.multiple:
            return tuple(self._convert_one(item, "") for item in _items(value))
        return self._convert_one(value, self.default)

    def _convert_one(self, value: Any, kind: Any) -> Any:
        if isinstance(kind, bool):
            return _boolean(value)
        if isinstance(kind, (int, float)):
            return self._in_range(_number(value, type(kind)))
        if not isinstance(value, str):
            raise UsageError(f"{value!r} is not a text")
        if self.choices and value not in self.choices:
            raise UsageError(f"{value!r} is none of {', '.join(self.choices)}", hint=_closest(value, self.choices))
        return self.check(value) if self.check is not None else value

    def _in_range(self, number: float) -> float:
        unit = f" {self.unit}" if self.unit else ""
        if self.minimum is not None and number < self.minimum:
            raise UsageError(f"{number:g} is too small; the smallest is {self.minimum:.12g}{unit}")
        if self.maximum is not None and number > self.maximum:
            raise UsageError(f"{number:.12g} is too large; the largest is {self.maximum:.12g}{unit}")
        return number


def ae_title(text: str) -> str:
    """An AE title without the spaces around it, which mean nothing (PS3.5 6.2, AE).

    Raises:
        UsageError: empty, longer than 16 characters, or with a backslash, control or non-ASCII character.
    """
    title = text.strip(" ")
    if not title:
        raise UsageError("an AE title has at least one character that is no space")
    if len(title) > 16:
        raise UsageError(f"{title!r} is too long; an AE title has at most 16 characters")
    if not (title.isascii() and title.isprintable()) or "\\" in title:
        raise UsageError(f"{title!r} is not an AE title", hint="only ASCII characters, no backslash")
    return title


_SIZE_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def size_text(text: str) -> str:
    """A number of bytes, perhaps with k, m, g or t after it (1024-fold each); `size_of` says what it is in bytes.

    Raises:
        UsageError: it is neither.
    """
    word = text.strip().lower()
    digits = word.rstrip("kmgt")
    if not (digits.isascii() and digits.isdigit()) or word[len(digits) :] not in _SIZE_UNITS or len(digits) > 18:
        raise UsageError(f"{text!r} is not a number of bytes", hint="for example 500m, 20g, or 0 for no limit")
    return word


def usable_cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def size_of(text: str) -> int:
    """The bytes that a text `size_text` has let through stands for."""
    digits = text.rstrip("kmgt")
    return int(digits) << _SIZE_UNITS[text[len(digits) :]]


_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else value
    if word not in _TRUE + _FALSE:
        raise UsageError(f"{value!r} is neither true nor false", hint="say true or false")
    return word in _TRUE


def _number(value: Any, kind: type) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{value!r} is not a number")
    try:
        number: float = kind(value)
    except (ValueError, OverflowError):
        raise UsageError(f"{value!r} is not a {'whole ' if kind is int else ''}number") from None
    if number != number or number in (float("inf"), float("-inf")) or (kind is int and number != float(value)):
        raise UsageError(f"{value!r} is not a {'whole ' if kind is int else ''}number")
    return number


def _items(value: Any) -> list[Any]:
    """A list from the configuration file, or a comma-separated text from the environment."""
    if isinstance(value, str):
        return [item for item in (part.strip() for part in value.split(",")) if item]
    if isinstance(value, (list, tuple)):
        return list(value)
    raise UsageError(f"{value!r} is not a list of texts")


def _closest(word: str, among: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, among, 1)
    return f"did you mean {close[0]}?" if close else ""


def option(default: Any, *flags: str, help: str, **how: Any) -> Any:  # noqa: A002
    """A settings field; `how` goes to `Option`."""
    return Option(flags, help, default=default, **how)


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Settings:
    """Base of all settings classes: immutable, made by keywords, equal when all fields are.

    Attributes:
        section: the class's table in the configuration file.
        title: the heading of its options in help texts.
        options: the fields by name, inherited ones first.
    """

    section: ClassVar[str] = ""
    title: ClassVar[str] = "options"
    options: ClassVar[dict[str, Option]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in cls.__dict__.items() if isinstance(value, Option)}
        for name, value in own.items():
            value.name = name
            setattr(cls, name, value.default)
        cls.options = {**cls.options, **own}

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - self.options.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        self.__dict__.update(values)

    def replace(self: _SettingsT, **changes: Any) -> _SettingsT:
        """A copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    __replace__ = replace  # copy.replace, Python 3.13

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values()))

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={'***' if option.secret and value else repr(value)}"
            for (name, option), value in zip(self.options.items(), self._values(), strict=True)
        )
        return f"{type(self).__name__}({shown})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.options)


class AssociationSettings(Settings):
    """What both sides of an association share (PS3.7 D.3, PS3.8 7.1)."""

    section: ClassVar[str] = "association"
    title: ClassVar[str] = "association options"

    calling_ae_title: str = option(
        "DCMKIT", "-aet", "--aetitle", metavar="AETITLE", check=ae_title, help="my own AE title"
    )
    max_pdu: int = option(
        262144, "-pdu", "--max-pdu", metavar="BYTES", minimum=4096, maximum=16777216, unit="bytes",
        help="maximum length of PDU I announce to the peer",
    )  # fmt: skip
    socket_timeout: float = option(
        60.0, "-ts", "--socket-timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="how long the peer may stay silent in the middle of a message, or not take what I send (0: for ever)",
    )  # fmt: skip
    acse_timeout: float = option(
        30.0, "-ta", "--acse-timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="how long to wait for association, release and abort messages; also the ARTIM timer (0: for ever)",
    )  # fmt: skip
    dimse_timeout: float = option(
        600.0, "-td", "--dimse-timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="how long to wait for a response to a DIMSE request (0: for ever)",
    )  # fmt: skip


class RequestorSettings(AssociationSettings):
    """What only the side that asks for the association needs."""

    section: ClassVar[str] = "association"
    title: ClassVar[str] = "association options"

    called_ae_title: str = option(
        "ANY-SCP", "-aec", "--call", metavar="AETITLE", check=ae_title, help="AE title of the peer"
    )
    connection_timeout: float = option(
        30.0, "-to", "--timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="how long to wait for the TCP connection (0: as long as the system does)",
    )  # fmt: skip
    max_send_pdu: int = option(
        0, "--max-send-pdu", metavar="BYTES", minimum=0, maximum=16777216, unit="bytes",
        help="never send longer PDUs than this, whatever the peer announces (0: what the peer announces)",
    )  # fmt: skip


class UserIdentitySettings(Settings):
    """User identity negotiation (PS3.7 D.3.3.7)."""

    section: ClassVar[str] = "user_identity"
    title: ClassVar[str] = "user identity negotiation options"

    user: str = option("", "-usr", "--user", metavar="NAME", help="authenticate with this user name")
    password: str = option(
        "",
        "-pwd",
        "--password",
        metavar="PASSWORD",
        secret=True,
        help="authenticate with this password (with --user)",
    )
    empty_password: bool = option(False, "-epw", "--empty-password", help="send an empty password (with --user)")
    kerberos: str = option(
        "",
        "-kt",
        "--kerberos",
        metavar="FILE",
        complete="file",
        help="read a Kerberos service ticket from this file",
    )
    saml: str = option("", "--saml", metavar="FILE", complete="file", help="read a SAML assertion from this file")
    jwt: str = option("", "--jwt", metavar="FILE", complete="file", help="read a JSON web token from this file")
    positive_response: bool = option(
        False, "-rsp", "--pos-response", help="ask the peer for a positive response to the user identity"
    )


class RetrySettings(Settings):
    """What to do when no association can be had."""

    section: ClassVar[str] = "retry"
    title: ClassVar[str] = "retry options"

    retries: int = option(
        0, "--retries", metavar="NUMBER", minimum=0, maximum=1000000,
        help="ask so many times more where the peer cannot be reached, is busy, or is lost on the way",
    )  # fmt: skip
    retry_delay: float = option(
        5.0, "--retry-delay", metavar="SECONDS", minimum=0, unit="seconds", help="how long to wait before asking again"
    )


class QuerySettings(Settings):
    """The character sets of requests and answers (PS3.5 6.1, PS3.3 C.12.1.1.2)."""

    section: ClassVar[str] = "query"
    title: ClassVar[str] = "character set options"

    charset: str = option(
        "ISO_IR 192", "--charset", metavar="TERM",
        help="character set of what is asked (a defined term of PS3.3 C.12.1.1.2); the request declares it",
    )  # fmt: skip
    assume_charset: str = option(
        "", "--assume-charset", metavar="TERM",
        help="character set of answers that declare none, or one that their bytes contradict",
    )  # fmt: skip
    override_charset: bool = option(
        False, "--override-charset", help="take --assume-charset whatever the answers declare"
    )


_PREFERENCES: dict[str, tuple[tuple[str, str], str]] = {
    "uncompressed": (("+x=", "--prefer-uncompr"), "uncompressed ones"),
    "little": (("+xe", "--prefer-little"), "explicit VR little endian"),
    "big": (("+xb", "--prefer-big"), "explicit VR big endian"),
    "lossless": (("+xs", "--prefer-lossless"), "JPEG lossless, first-order prediction"),
    "jpeg8": (("+xy", "--prefer-jpeg8"), "JPEG baseline"),
    "jpeg12": (("+xx", "--prefer-jpeg12"), "JPEG extended"),
    "j2k-lossless": (("+xv", "--prefer-j2k-lossless"), "JPEG 2000 lossless"),
    "j2k-lossy": (("+xw", "--prefer-j2k-lossy"), "JPEG 2000"),
    "jls-lossless": (("+xt", "--prefer-jls-lossless"), "JPEG-LS lossless"),
    "jls-lossy": (("+xu", "--prefer-jls-lossy"), "JPEG-LS near-lossless"),
    "mpeg2": (("+xm", "--prefer-mpeg2"), "MPEG2 main profile, main level"),
    "mpeg2-high": (("+xh", "--prefer-mpeg2-high"), "MPEG2 main profile, high level"),
    "mpeg4": (("+xn", "--prefer-mpeg4"), "MPEG4 high profile, level 4.1"),
    "mpeg4-bd": (("+xl", "--prefer-mpeg4-bd"), "MPEG4 BD-compatible"),
    "mpeg4-2-2d": (("+x2", "--prefer-mpeg4-2-2d"), "MPEG4 high profile, level 4.2, 2D"),
    "mpeg4-2-3d": (("+x3", "--prefer-mpeg4-2-3d"), "MPEG4 high profile, level 4.2, 3D"),
    "mpeg4-2-st": (("+xo", "--prefer-mpeg4-2-st"), "MPEG4 stereo high profile, level 4.2"),
    "hevc": (("+x4", "--prefer-hevc"), "HEVC main profile"),
    "hevc10": (("+x5", "--prefer-hevc10"), "HEVC main 10 profile"),
    "rle": (("+xr", "--prefer-rle"), "RLE lossless"),
    "deflated": (("+xd", "--prefer-deflated"), "deflated explicit VR little endian"),
    "implicit": (("+xi", "--implicit"), ""),
}
"""Transfer syntaxes as DCMTK's options name them: spellings and description."""


class RetrieveSettings(Settings):
    """How objects are retrieved (PS3.4 C.4.2, C.4.3)."""

    section: ClassVar[str] = "retrieve"
    title: ClassVar[str] = "retrieve options"

    information_model: str = option(
        "auto", "--information-model", metavar="MODEL", choices=("auto", "patient", "study", "psonly"),
        help="the information model to retrieve with; auto is patient root for -k and query files, as DCMTK has it, "
        "and study root for everything else",
        shortcuts=(
            Shortcut(("-P",), "patient", "use the patient root information model"),
            Shortcut(("-S",), "study", "use the study root information model"),
            Shortcut(("-O", "--psonly"), "psonly", "use the patient/study only information model"),
        ),
    )  # fmt: skip
    proposed_syntax: str = option(
        "uncompressed", "--propose-syntax", metavar="NAME",
        choices=("uncompressed", "little", "big", "deflated", "implicit"),
        help="transfer syntaxes to propose for requests",
        shortcuts=(
            Shortcut(("-x=", "--propose-uncompr"), "uncompressed", "propose all uncompressed ones for requests"),
            Shortcut(("-xe", "--propose-little"), "little", "propose explicit VR little endian before the others"),
            Shortcut(("-xb", "--propose-big"), "big", "propose explicit VR big endian before the others"),
            Shortcut(("-xd", "--propose-deflated"), "deflated", "propose deflated explicit VR before the others"),
            Shortcut(("-xi", "--propose-implicit"), "implicit", "propose implicit VR little endian only"),
        ),
    )  # fmt: skip
    preferred_syntax: str = option(
        "uncompressed", "--prefer-syntax", metavar="NAME", choices=tuple(_PREFERENCES),
        help="transfer syntax to prefer for objects; all others are taken too, except with implicit",
        shortcuts=tuple(
            Shortcut(flags, name, f"prefer {what}" if name != "implicit" else "take implicit VR little endian only")
            for name, (flags, what) in _PREFERENCES.items()
        ),
    )  # fmt: skip
    jobs: int = option(
        1, "--jobs", metavar="NUMBER", minimum=1, maximum=64,
        help="associations to retrieve with side by side, a study (or what else was named) each",
    )  # fmt: skip


class ListenerSettings(Settings):
    """How a service listens."""

    section: ClassVar[str] = "listener"
    title: ClassVar[str] = "listener options"

    bind: tuple[str, ...] = option(
        (), "--bind", metavar="ADDRESS", multiple=True,
        help="listen on this address only; may be given several times (default: all addresses, IPv4 and IPv6)",
    )  # fmt: skip
    max_associations: int = option(
        256, "--max-associations", metavar="NUMBER", minimum=1, maximum=100000,
        help="associations at a time; a further one is rejected as transient, local limit exceeded",
    )  # fmt: skip
    workers: int = option(
        1, "--workers", metavar="NUMBER", minimum=1, maximum=256,
        help="worker processes that share the port (more than one needs a POSIX system)",
    )  # fmt: skip
    idle_timeout: float = option(
        900.0, "--idle-timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="abort an association on which nothing happens for so long (0: never)",
    )  # fmt: skip
    check_called_ae_title: bool = option(
        False, "--check-called-ae-title", help="reject associations that call another AE title than mine"
    )
    allowed_calling_ae_titles: tuple[str, ...] = option(
        (), "--allow-calling-ae-title", metavar="AETITLE", multiple=True, check=ae_title,
        help="accept associations from this calling AE title only; may be given several times (default: any)",
    )  # fmt: skip


class ArchiveSettings(Settings):
    """How objects come to rest on disk and in the index."""

    section: ClassVar[str] = "archive"
    title: ClassVar[str] = "archive options"

    output_directory: str = option(
        ".", "-od", "--output-directory", metavar="DIRECTORY", complete="directory",
        help="the archive: a directory of Part 10 files, with its index in .dcmkit",
    )  # fmt: skip
    layout: str = option(
        "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm", "--layout", metavar="TEMPLATE",
        help="where an object's file goes, as a template of keywords; every component is made safe",
    )  # fmt: skip
    durability: str = option(
        "full", "--durability", metavar="LEVEL", choices=("full", "file", "none"),
        help="what survives a power cut once Success was answered: file, name and index row (full); the file's data "
        "(file); whatever the system has written by itself (none). A killed process loses nothing at any level",
    )  # fmt: skip
    on_duplicate: str = option(
        "keep-both", "--on-duplicate", metavar="POLICY", choices=("keep", "replace", "reject", "keep-both"),
        help="what to do with an instance that is already there with other content (the same content is always "
        "answered with Success, without a write)",
    )  # fmt: skip
    on_mismatch: str = option(
        "reject", "--on-mismatch", metavar="POLICY", choices=("reject", "store"),
        help="what to do when the UIDs in the data set differ from those of the request",
    )  # fmt: skip
    on_invalid: str = option(
        "reject", "--on-invalid", metavar="POLICY", choices=("reject", "store"),
        help="what to do with a data set that cannot be read to its end",
    )  # fmt: skip
    index_keywords: tuple[str, ...] = option(
        (), "--index-keyword", metavar="KEYWORD", multiple=True,
        help="index this attribute too; may be given several times",
    )  # fmt: skip
    max_studies: int = option(
        0, "--max-studies", metavar="NUMBER", minimum=0,
        help="keep at most so many studies: the one that got nothing for the longest time leaves (0: no limit)",
    )  # fmt: skip
    max_size: str = option(
        "0", "--max-size", metavar="BYTES", check=size_text,
        help="keep at most so many bytes of files, with k, m, g or t for powers of 1024: the studies that got nothing "
        "for the longest time leave (0: no limit)",
    )  # fmt: skip
    max_study_size: str = option(
        "0", "--max-study-size", metavar="BYTES", check=size_text,
        help="refuse objects that would make a study bigger than this (0: no limit)",
    )  # fmt: skip


class LoggingSettings(Settings):
    """What is said on stderr."""

    section: ClassVar[str] = "logging"
    title: ClassVar[str] = "general options"

    log_level: str = option(
        "warn", "-ll", "--log-level", metavar="LEVEL", choices=("fatal", "error", "warn", "info", "debug", "trace"),
        help="use this level for logging",
        shortcuts=(
            Shortcut(("-q", "--quiet"), "fatal", "print no warnings and errors"),
            Shortcut(("-v", "--verbose"), "info", "print processing details"),
            Shortcut(("-d", "--debug"), "debug", "print debug information"),
        ),
    )  # fmt: skip
    log_format: str = option(
        "text",
        "--log-format",
        metavar="FORMAT",
        choices=("text", "json"),
        help="log as text or as JSON lines",
    )
    log_patient_data: bool = option(
        False, "--log-patient-data", help="allow patient names and identifiers in the log, at debug level"
    )

"""Every option shared by tools, declared once.

A settings class is a frozen dataclass; each field is made by `option()`, which carries DCMTK's spellings, the help
sentence and the range. From that one declaration come the click option, the key in the configuration file
(`[section] field_name`), the environment variable (`DCMKIT_FIELD_NAME`), the line in the man page and the completion
(`cli/options.py`). Precedence: command line, environment, configuration file, tool default, class default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


class Option:
    """How one settings field is spelt and checked. Held in the field's metadata under `"option"`.

    Attributes:
        flags: the spellings on the command line, DCMTK's first (`("-aet", "--aetitle")`).
        help: one sentence, lower case, no full stop; the default is appended by whoever prints it.
        metavar: the name of the value in help texts; "" for a flag.
        choices: the values allowed, where they are few.
        minimum, maximum: the inclusive range of a number.
        unit: "seconds", "bytes", ... for the man page.
        complete: what a shell may offer: "file", "directory", "node", "transfer-syntax", "sop-class" or "".
        off_flags: for a boolean, the spellings that switch it off.
        secret: never shown in `config show`, logs or the process title.
        multiple: may be given several times; the field is a tuple.
    """

    __slots__ = (
        "choices", "complete", "flags", "help", "maximum", "metavar", "minimum", "multiple", "off_flags", "secret",
        "unit",
    )  # fmt: skip

    def __init__(
        self,
        flags: tuple[str, ...],
        help: str,  # noqa: A002 - click's own word
        *,
        metavar: str = "",
        choices: tuple[str, ...] = (),
        minimum: float | None = None,
        maximum: float | None = None,
        unit: str = "",
        complete: str = "",
        off_flags: tuple[str, ...] = (),
        secret: bool = False,
        multiple: bool = False,
    ) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.choices = choices
        self.minimum = minimum
        self.maximum = maximum
        self.unit = unit
        self.complete = complete
        self.off_flags = off_flags
        self.secret = secret
        self.multiple = multiple


def option(default: Any, *flags: str, help: str, **how: Any) -> Any:  # noqa: A002
    """A dataclass field that is an option as well; `how` goes to `Option`."""
    return field(default=default, metadata={"option": Option(flags, help, **how)})


@dataclass(frozen=True)
class AssociationSettings:
    """What both sides of an association share (PS3.7 D.3, PS3.8 7.1)."""

    section: ClassVar[str] = "association"

    calling_ae_title: str = option("DCMKIT", "-aet", "--aetitle", metavar="AETITLE", help="my own AE title")
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


@dataclass(frozen=True)
class RequestorSettings(AssociationSettings):
    """What only the side that asks for the association needs."""

    section: ClassVar[str] = "association"

    called_ae_title: str = option("ANY-SCP", "-aec", "--call", metavar="AETITLE", help="AE title of the peer")
    connection_timeout: float = option(
        30.0, "-to", "--timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="how long to wait for the TCP connection (0: as long as the system does)",
    )  # fmt: skip
    max_send_pdu: int = option(
        0, "--max-send-pdu", metavar="BYTES", minimum=0, maximum=16777216, unit="bytes",
        help="never send longer PDUs than this, whatever the peer announces (0: what the peer announces)",
    )  # fmt: skip


@dataclass(frozen=True)
class UserIdentitySettings:
    """User identity negotiation (PS3.7 D.3.3.7)."""

    section: ClassVar[str] = "user_identity"

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


@dataclass(frozen=True)
class ListenerSettings:
    """How a service listens."""

    section: ClassVar[str] = "listener"

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
        (), "--allow-calling-ae-title", metavar="AETITLE", multiple=True,
        help="accept associations from this calling AE title only; may be given several times (default: any)",
    )  # fmt: skip


@dataclass(frozen=True)
class ArchiveSettings:
    """How objects come to rest on disk and in the index."""

    section: ClassVar[str] = "archive"

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


@dataclass(frozen=True)
class LoggingSettings:
    """What is said on stderr."""

    section: ClassVar[str] = "logging"

    log_level: str = option(
        "warn", "-ll", "--log-level", metavar="LEVEL", choices=("fatal", "error", "warn", "info", "debug", "trace"),
        help="use this level for logging",
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

"""Every error dcmkit raises on purpose, and the one table of exit codes.

Each class knows its exit code (DCMTK's ranges: 1-19 general, 20-39 input, 40-59 output, 60-79 network), the DIMSE
status (PS3.7 Annex C, PS3.4 B.2.3) and the HTTP status a peer is told. A message says what happened and to what;
`hint` says what to do next. Any other exception that reaches the top is a bug.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a dcmkit process tells its caller. `description` is printed into every man page."""

    description: str
    __str__ = int.__repr__  # before Python 3.11 it is the name

    def __new__(cls, value: int, description: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    DONE = 0, "everything asked for was done (a warning status counts as done)"
    BAD_USAGE = 1, "the command line, the environment or the configuration file is wrong; nothing was done"
    PARTLY_DONE = 10, "some objects were done and some failed; each failure is on stderr"
    NOTHING_DONE = 11, "every object failed; each failure is on stderr"
    DIFFERENT = 12, "what was compared differs"
    INTERNAL_ERROR = 19, "a defect in dcmkit; please report the text on stderr"
    CANNOT_READ_INPUT = 20, "an input file or directory cannot be read"
    NO_INPUT_FILES = 21, "no input files were named or found"
    INVALID_INPUT_FILE = 22, "an input file is not what it must be"
    NO_VALID_INPUT_FILES = 23, "none of the input files is usable"
    INVALID_INPUT_DIRECTORY = 25, "an input directory is missing or not a directory"
    CANNOT_WRITE_OUTPUT = 40, "output cannot be written (disk full, permission, read-only)"
    CANNOT_WRITE_REPORT = 43, "the report file cannot be written"
    INVALID_OUTPUT_DIRECTORY = 45, "the output directory is missing, not a directory or not writable"
    ARCHIVE_DAMAGED = 46, "files and index of an archive disagree"
    CANNOT_INITIALIZE_NETWORK = 60, "the network cannot be used (for example an address that cannot be bound)"
    ASSOCIATION_REFUSED = 61, "the peer refused the association, or could not be reached"
    CANNOT_SEND_REQUEST = 62, "a request could not be sent"
    CANNOT_LISTEN = 64, "the service cannot listen on its port"
    NO_PRESENTATION_CONTEXT = 66, "the peer accepted none of the presentation contexts needed"
    CANNOT_RELEASE = 67, "the association could not be released in order"
    MOVE_WARNING = 68, "the retrieve finished with warnings or failed sub-operations"
    MOVE_ERROR = 69, "the retrieve failed"
    ASSOCIATION_ABORTED = 70, "the association was aborted, or a timeout or a protocol error ended it"
    TRANSPORT_ERROR = 71, "the connection was lost"
    REQUEST_FAILED = 72, "the peer answered a request with a failure status"
    INTERRUPTED = 130, "interrupted by the user (SIGINT)"
    BROKEN_PIPE = 141, "the program reading stdout went away before everything was written"


class DcmkitError(Exception):
    """The root: catch this to catch everything dcmkit raises on purpose.

    Args:
        message: what happened, to what, without a final full stop.
        hint: what to do next; printed after the message.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL_ERROR
    dimse_status: ClassVar[int] = 0x0110
    """Processing failure (PS3.7 C.5.7)."""
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(DcmkitError):
    """The command line, environment or configuration asks for something that cannot be."""

    exit_code = ExitCode.BAD_USAGE
    http_status = 400


# --- input and output --------------------------------------------------------------------------------------------


class InputError(DcmkitError):
    """A file or directory cannot be read."""

    exit_code = ExitCode.CANNOT_READ_INPUT
    http_status = 404


class NoInputError(InputError):
    """Nothing to do: no input files named or found."""

    exit_code = ExitCode.NO_INPUT_FILES


class InvalidDataSetError(InputError):
    """Bytes that are no usable DICOM: not Part 10, truncated, garbage.

    Attributes:
        offending_element: the tag (0xGGGGEEEE) at which reading failed, or None (PS3.7 C.5, (0000,0901)).
    """

    exit_code = ExitCode.INVALID_INPUT_FILE
    dimse_status = 0xC000
    """Cannot understand (PS3.4 B.2.3)."""
    http_status = 400

    def __init__(self, message: str, *, hint: str = "", offending_element: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offending_element = offending_element


class DataSetMismatchError(InvalidDataSetError):
    """Data set does not match SOP Class: a UID in the data set differs from the command's (PS3.4 B.2.3)."""

    dimse_status = 0xA900
    http_status = 409


class UnsupportedSyntaxError(InputError):
    """What is asked of a transfer syntax is more than it, or the codecs of this installation, can do."""

    exit_code = ExitCode.INVALID_INPUT_FILE
    dimse_status = 0x0122
    """SOP class not supported (PS3.7 C.5.27): the one status that says the object is well, and not for here."""
    http_status = 406


class SOPClassNotSupportedError(DcmkitError):
    """A request for a SOP class that is not its presentation context's, or not offered (PS3.7 C.5.27)."""

    dimse_status = 0x0122
    http_status = 409


class OutputError(DcmkitError):
    """Out of resources: disk full, no permission, index locked (PS3.4 B.2.3, A700)."""

    exit_code = ExitCode.CANNOT_WRITE_OUTPUT
    dimse_status = 0xA700
    http_status = 507


class OutputDirectoryError(OutputError):
    """The output directory is missing, not a directory or not writable."""

    exit_code = ExitCode.INVALID_OUTPUT_DIRECTORY


class DuplicateError(DcmkitError):
    """The SOP Instance is already there and the duplicate setting says reject (PS3.7 C.5.3)."""

    exit_code = ExitCode.CANNOT_WRITE_OUTPUT
    dimse_status = 0x0111
    """Duplicate SOP Instance."""
    http_status = 409


class IndexDamagedError(OutputError):
    """The SQLite index cannot be used: corrupt, or written by a newer dcmkit."""

    exit_code = ExitCode.ARCHIVE_DAMAGED


class IndexVersionError(IndexDamagedError):
    """A newer dcmkit wrote the index: it is not damaged, and must not be touched."""


# --- network -----------------------------------------------------------------------------------------------------


class NetworkError(DcmkitError):
    """Anything between us and a peer."""

    exit_code = ExitCode.TRANSPORT_ERROR
    http_status = 502


class ListenError(NetworkError):
    """The listener cannot bind or listen."""

    exit_code = ExitCode.CANNOT_LISTEN


class ConnectError(NetworkError):
    """No TCP connection: name unknown, refused, unreachable, timeout."""

    exit_code = ExitCode.ASSOCIATION_REFUSED


class AssociationRejectedError(NetworkError):
    """A-ASSOCIATE-RJ received (PS3.8 9.3.4).

    Attributes:
        result, source, reason: the fields of the PDU.
    """

    exit_code = ExitCode.ASSOCIATION_REFUSED

    def __init__(self, message: str, *, hint: str = "", result: int = 1, source: int = 1, reason: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.result, self.source, self.reason = result, source, reason


class NoPresentationContextError(NetworkError):
    """The association has no accepted presentation context for what is to be sent."""

    exit_code = ExitCode.NO_PRESENTATION_CONTEXT
    dimse_status = 0x0122


class AssociationAbortedError(NetworkError):
    """The association is gone: A-ABORT or A-P-ABORT (PS3.8 9.3.8).

    Attributes:
        source: 0 service user, 2 service provider.
        reason: the reason field, meaningful when source is 2.
    """

    exit_code = ExitCode.ASSOCIATION_ABORTED

    def __init__(self, message: str, *, hint: str = "", source: int = 0, reason: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.source, self.reason = source, reason


class PeerTimeoutError(AssociationAbortedError):
    """The peer did not answer in time (ARTIM, ACSE, DIMSE, network or idle timer)."""


class ConnectionLostError(NetworkError):
    """The transport connection was closed or reset without release or abort."""


class ProtocolError(AssociationAbortedError):
    """The one error every decoder in `protocol/` raises: bytes that PS3.7 or PS3.8 does not allow.

    The association answers it with A-ABORT carrying `source` and `reason` (PS3.8 9.3.8, Table 9-26):
    0 not specified, 1 unrecognized PDU, 2 unexpected PDU, 4 unrecognized PDU parameter, 5 unexpected PDU
    parameter, 6 invalid PDU parameter value.
    """

    def __init__(self, message: str, *, hint: str = "", source: int = 2, reason: int = 6) -> None:
        super().__init__(message, hint=hint, source=source, reason=reason)


class StatusError(NetworkError):
    """A response carried a failure status (PS3.7 Annex C).

    Attributes:
        status: the DIMSE status received.
    """

    exit_code = ExitCode.REQUEST_FAILED

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status

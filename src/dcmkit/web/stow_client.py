"""STOW-RS as user agent (PS3.18 10.5): files from disk to an origin server, straight from their bytes.

Many files go in one request, and each of them is reported by itself: stored, stored with a warning, or not, and why.
Nothing is taken for stored that the server did not name, or vouch for, in an answer that is one. What fails together is
halved until it is known which file it was. Storing an object twice does no harm, so a lost request is repeated.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.completeness import require_complete
from dcmkit.dataset.part10 import BLOCK, FileHeader, file_meta, parse_file_header, read_at
from dcmkit.errors import (
    ConnectError,
    DcmkitError,
    InputError,
    InvalidDataSetError,
    NetworkError,
)
from dcmkit.logs import get_logger
from dcmkit.protocol.status import FAILURE, PROCESSING_FAILURE, STATUS_SUCCESS, WARNING, category
from dcmkit.services.sending import File, Sent, lost
from dcmkit.uids import is_uid
from dcmkit.web.http_body import FileChangedError, FileRange, length_of
from dcmkit.web.http_client import UntrustedError
from dcmkit.web.http_response import HttpStatusError, status_error
from dcmkit.web.multipart_writing import content_type, lay_out
from dcmkit.web.stow_answer import NOTHING, Failure, StoreAnswer, describe_reason, parse_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dcmkit.web.http_body import Piece
    from dcmkit.web.http_client import HttpClient
    from dcmkit.web.http_response import Response

log = get_logger("web")

GIVE_UP_AFTER = 3
"""Requests lost one after the other, or single objects answered with an error of the server's, without one stored."""
_BUSY = frozenset({408, 425, 429, 502, 503, 504, 507})
"""The server cannot do it now (RFC 9110 15.5.9, 15.6; RFC 6585 4): nothing is wrong with the request."""
_ABOUT_OBJECTS = frozenset({400, 409, 415, 422, 500})
"""One object may be the cause, and the others may be well."""
_HINTS = {
    404: "there is no such service: is the path right?",
    405: "it stores nothing there: is the path right?",
}
_LOOK_EVERY = 0.25
_ANSWER, _ANSWER_PER_FILE = 1 << 20, 4096
"""Bytes an answer may have."""
_LONGEST_REMARK = 200
_ACCEPT = "application/dicom+json, application/dicom+xml;q=0.5"
_PART = {"Content-Type": "application/dicom"}


class Limits(NamedTuple):
    """How much at a time, and how often.

    Attributes:
        files, size: of one request at most; a larger file goes by itself.
        attempts: requests for the same objects, while the server is busy or the connection is lost.
        longest_wait: seconds between them at most, whatever Retry-After says.
        delay: seconds before the second of them, doubled each time, where the server names none.
    """

    files: int = 50
    size: int = 64 << 20
    attempts: int = 4
    longest_wait: float = 60.0
    delay: float = 1.0


class Part(NamedTuple):
    """A file as it goes into a request.

    Attributes:
        meta: what is sent in place of the file's own beginning; empty where that is good.
        offset, length: the bytes of the file that are sent.
    """

    path: str
    header: FileHeader
    meta: bytes
    offset: int
    length: int

    @property
    def size(self) -> int:
        """Of what is sent."""
        return len(self.meta) + self.length


def read_part(path: str) -> Part:
    """How a file is sent: as it is, or with new file meta information (PS3.10 7.1) where that is missing or wrong.

    Raises:
        InvalidDataSetError: it is no DICOM file, is not all there, or its data set has no SOP Class and Instance UID.
        InputError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the file cannot be read: {reason}") from None
    try:
        size = os.fstat(descriptor).st_size
        block = read_at(descriptor, BLOCK, 0)
        header = parse_file_header(block, descriptor, size, allow_bare=True)
        if not (is_uid(header.sop_class_uid) and is_uid(header.transfer_syntax_uid)):
            raise InvalidDataSetError("its SOP class or transfer syntax is not a UID")
        if not header.sop_instance_uid or not header.sop_instance_uid.isascii():
            raise InvalidDataSetError("it has no SOP Instance UID")
        if header.offset > len(block):
            block = read_at(descriptor, header.offset, 0)
        require_complete(descriptor, header, block[header.offset :])
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if _is_good_meta(block, header):
        return Part(path, header, b"", 0, size)
    meta = file_meta(
        header.sop_class_uid,
        header.sop_instance_uid,
        header.transfer_syntax_uid,
        source_ae_title=header.source_ae_title,
    )
    return Part(path, header, meta, header.offset, header.length)


def _is_good_meta(block: bytes, header: FileHeader) -> bool:
    """Whether any reader can read it: prefix, a true group length, and the UIDs of the data set (PS3.10 7.1)."""
    meta = block[132 : header.offset]
    uids = ((b"\2", header.sop_class_uid), (b"\3", header.sop_instance_uid), (b"\x10", header.transfer_syntax_uid))
    return (
        block[128:132] == b"DICM"
        and meta[:8] == b"\2\0\0\0UL\4\0"
        and int.from_bytes(meta[8:12], "little") == len(meta) - 12
        and all(_uid_element(element, uid) in meta for element, uid in uids)
    )


def _uid_element(element: bytes, uid: str) -> bytes:
    value = uid.encode("ascii", "replace")
    value += b"\0" * (len(value) % 2)
    return b"\2\0" + element + b"\0UI" + len(value).to_bytes(2, "little") + value


def multipart(parts: Sequence[Part], boundary: str) -> list[Piece]:
    """The body of a request (PS3.18 8.6.1.2, RFC 2387)."""
    pieces, _ = lay_out(boundary, ((_PART, part.size, _contents(part)) for part in parts))
    return pieces


def _contents(part: Part) -> tuple[Piece, ...]:
    file = FileRange(part.path, part.offset, part.length)
    return (part.meta, file) if part.meta else (file,)


def studies_target(target: str) -> str:
    """The path of the Studies resource, or of one study: as it was given, or below the path of the service."""
    path, mark, query = target.partition("?")
    segments = path.rstrip("/").split("/")
    if "studies" not in segments[-2:]:
        segments.append("studies")
    return "/".join(segments) + mark + query


def retry_after(text: str, now: float) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110 10.2.3); None where it says nothing that can be understood."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


class StowClient:
    """Stores files over one connection; several threads take several of these.

    Args:
        client: its URL is that of the service, of its studies, or of one study.
        target: path and query that objects are posted to; "" for what the URL says.
        sleep: how waiting is done; tests do not.
    """

    def __init__(
        self,
        client: HttpClient,
        limits: Limits | None = None,
        *,
        target: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._limits, self._sleep = client, limits or Limits(), sleep
        self._target = target or studies_target(client.url.target)
        self._most = self._limits.size
        self._strikes = 0

    def store(
        self, paths: Iterable[str], report: Callable[[Sent], None], stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Store files; every one of them is reported once, with the server's answer or with what prevented it.

        Args:
            paths: what to send; they are looked at as they are needed.
            report: called with the outcome of each file: `Sent.status` is the failure or warning reason.
            stopped: asked between requests and while waiting; once it says yes, the others are neither sent nor
                reported.

        Raises:
            NetworkError: the server cannot be reached, does not want us, or is busy beyond patience; what was not
                reported was not stored, as far as is known.
        """
        for batch in self._batches(paths, report):
            waiting = [batch]
            while waiting:
                if stopped():
                    return
                parts = waiting.pop()
                if len(parts) > 1 and sum(part.size for part in parts) > self._most:
                    waiting += _halves(parts)
                    continue
                again = self._request(parts, report, stopped)
                waiting += _halves(again) if len(again) > 1 else [again] if again else []

    def _batches(self, paths: Iterable[str], report: Callable[[Sent], None]) -> Iterator[list[Part]]:
        """The files in their order, as many together as may be. An instance is once in a batch: answers go by it."""
        batch: list[Part] = []
        uids: set[str] = set()
        size = 0
        for path in paths:
            try:
                part = read_part(path)
            except DcmkitError as error:
                report(Sent(path, "", "", None, str(error), 0.0, 0, False, error))
                continue
            uid = part.header.sop_instance_uid
            if batch and (size + part.size > self._most or uid in uids):
                yield batch
                batch, uids, size = [], set(), 0
            batch.append(part)
            uids.add(uid)
            size += part.size
            if len(batch) >= self._limits.files:
                yield batch
                batch, uids, size = [], set(), 0
        if batch:
            yield batch

    # --- one request ---------------------------------------------------------------------------------------------

    def _request(self, parts: list[Part], report: Callable[[Sent], None], stopped: Callable[[], bool]) -> list[Part]:
        """Send some objects, again if need be; those that are to be tried in smaller numbers. Raises: NetworkError."""
        attempt = 0
        while parts:
            attempt += 1
            asked: float | None = None
            failure: NetworkError
            try:
                began = time.perf_counter()
                response, answer, remark = self._post(parts)
            except FileChangedError as error:
                parts = _without(parts, error, report)
                attempt -= 1
                continue
            except NetworkError as error:
                failure = error
            else:
                if response.status not in _BUSY:
                    seconds = (time.perf_counter() - began) / len(parts)
                    return self._judge(parts, response.status, answer, remark, seconds, report)
                asked = retry_after(response.header("Retry-After"), time.time())
                failure = status_error(response.status, HttpStatusError, _HINTS)
            if attempt >= self._limits.attempts or isinstance(failure, UntrustedError):
                return self._lost(parts, failure, report)
            if not self._wait(attempt, asked, failure, stopped):
                return []
        return []

    def _post(self, parts: Sequence[Part]) -> tuple[Response, StoreAnswer, str]:
        """The answer to a request, what its data set says, and what it says in words. Raises: NetworkError."""
        boundary = f"dcmkit-{os.urandom(16).hex()}"
        body = multipart(parts, boundary)
        headers = [("Content-Type", content_type(boundary)), ("Accept", _ACCEPT)]
        log.debug("storing %d objects, %d bytes", len(parts), length_of(body))
        response = self._client.request("POST", self._target, headers=headers, body=body)
        content = response.read(_ANSWER + _ANSWER_PER_FILE * len(parts))
        try:
            answer, remark = parse_answer(content) if content else NOTHING, ""
        except InvalidDataSetError:
            plain = response.content_type == "text/plain"
            answer, remark = NOTHING, content[:_LONGEST_REMARK].decode("utf-8", "replace") if plain else ""
        return response, answer, remark or response.header("Warning")[:_LONGEST_REMARK]

    def _wait(self, attempt: int, asked: float | None, failure: NetworkError, stopped: Callable[[], bool]) -> bool:
        """Before another attempt; False when it is not to be made."""
        seconds = self._limits.delay * 2.0 ** (attempt - 1) if asked is None else asked
        left = min(seconds, self._limits.longest_wait)
        log.warning("%s; next attempt in %.0f s", failure.message, left)
        while left > 0 and not stopped():
            self._sleep(min(left, _LOOK_EVERY))
            left -= _LOOK_EVERY
        return not stopped()

    def _lost(self, parts: Sequence[Part], failure: NetworkError, report: Callable[[Sent], None]) -> list[Part]:
        """No answer was to be had. Raises: NetworkError: and none will be had for the others."""
        if isinstance(failure, (ConnectError, HttpStatusError)):
            raise failure
        self._strikes += 1
        for part in parts:
            sent = lost(File(part.path, part.header), failure)
            report(sent._replace(comment=f"{sent.comment}: it is not known whether the object is stored"))
        if self._strikes >= GIVE_UP_AFTER:
            raise failure
        return []

    # --- what an answer means ------------------------------------------------------------------------------------

    def _judge(
        self,
        parts: Sequence[Part],
        status: int,
        answer: StoreAnswer,
        remark: str,
        seconds: float,
        report: Callable[[Sent], None],
    ) -> list[Part]:
        """Report what an answer tells of objects (PS3.18 Table 10.5.3-1); those of which it does not tell enough.

        Raises:
            HttpStatusError: it is about us or the server, not about objects.
        """
        if status == 413:
            return self._too_much(parts, report)
        if not (200 <= status < 300 or status in _ABOUT_OBJECTS):
            raise status_error(status, HttpStatusError, _HINTS)
        unknown = []
        for part in parts:
            outcome = _outcome(part, answer, seconds)
            if outcome is None and 200 <= status < 300 and _vouches(status, answer):
                outcome = _stored(part, 0, seconds)
            if outcome is None:
                unknown.append(part)
                continue
            self._strikes = 0
            report(outcome)
        if len(unknown) > 1 and status in _ABOUT_OBJECTS:
            return unknown
        if unknown and len({failure.reason for failure in answer.other}) == 1:
            for part in unknown:
                report(_failed(part, answer.other[0], seconds))
            return []
        for part in unknown:
            self._unnamed(part, status, remark, report)
        return []

    def _unnamed(self, part: Part, status: int, remark: str, report: Callable[[Sent], None]) -> None:
        """An object of which the server says nothing. Raises: HttpStatusError: the server fails at everything."""
        if status < 300:
            error = HttpStatusError(
                f"the server answers {status} and does not say that it has stored the object",
                status=status,
                hint="is this the URL of a STOW-RS service?",
            )
        elif status == 500:
            error = status_error(status, HttpStatusError, _HINTS)
        else:
            error = HttpStatusError(f"the server refuses the object with HTTP status {status}", status=status)
        sent = lost(File(part.path, part.header), error)
        report(sent._replace(comment=f"{sent.comment}: {remark}") if remark else sent)
        if status == 500:
            self._strikes += 1
            if self._strikes >= GIVE_UP_AFTER:
                raise error

    def _too_much(self, parts: Sequence[Part], report: Callable[[Sent], None]) -> list[Part]:
        """413: the request was too large (RFC 9110 15.5.14). From now on they are smaller."""
        if len(parts) > 1:
            self._most = min(self._most, max(1, sum(part.size for part in parts) // 2))
            log.info("the server wants smaller requests: %d bytes from now on", self._most)
            return list(parts)
        error = HttpStatusError("the object is too large for the server (HTTP status 413)", status=413)
        report(lost(File(parts[0].path, parts[0].header), error))
        return []


def _halves(parts: Sequence[Part]) -> list[list[Part]]:
    """The second half, and the first: what is last comes next."""
    middle = (len(parts) + 1) // 2
    return [list(parts[middle:]), list(parts[:middle])]


def _without(parts: Sequence[Part], error: FileChangedError, report: Callable[[Sent], None]) -> list[Part]:
    """A file was removed or cut while it was being sent: the others are sent again."""
    for part in parts:
        if part.path == error.path:
            report(lost(File(part.path, part.header), error))
    return [part for part in parts if part.path != error.path]


def _outcome(part: Part, answer: StoreAnswer, seconds: float) -> Sent | None:
    """What is said of an object by its name."""
    uid = part.header.sop_instance_uid
    if uid in answer.failed:
        return _failed(part, answer.failed[uid], seconds)
    return _stored(part, answer.stored[uid], seconds) if uid in answer.stored else None


def _vouches(status: int, answer: StoreAnswer) -> bool:
    """Whether an answer that names nothing says that everything is stored: 200, and where it can be had."""
    return status == 200 and bool(answer.retrieve_url) and not (answer.stored or answer.failed or answer.other)


def _stored(part: Part, warning: int, seconds: float) -> Sent:
    comment = describe_reason(warning) if warning else ""
    return _sent(part, warning if category(warning) == WARNING else STATUS_SUCCESS, comment, seconds)


def _failed(part: Part, failure: Failure, seconds: float) -> Sent:
    words = f": {failure.comment}" if failure.comment else ""
    reason = failure.reason if category(failure.reason) == FAILURE else PROCESSING_FAILURE
    return _sent(part, reason, f"{describe_reason(failure.reason)}{words}", seconds)


def _sent(part: Part, status: int, comment: str, seconds: float) -> Sent:
    header = part.header
    return Sent(part.path, header.sop_class_uid, header.sop_instance_uid, status, comment, seconds, part.size, False)

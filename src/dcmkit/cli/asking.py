"""Asking a peer: over an association that is had again where that helps, in windows of dates where that is wanted."""

from __future__ import annotations

from time import perf_counter, sleep
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.cli.output import environment, say
from dcmkit.dataset.elements import DataSet, Element, text
from dcmkit.errors import (
    AssociationRejectedError,
    DcmkitError,
    ExitCode,
    InvalidDataSetError,
    NetworkError,
    NoPresentationContextError,
    StatusError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.services.find_scu import Charsets, Finding, find, is_suspicious
from dcmkit.services.models import QUERY_RETRIEVE_LEVEL, UNIQUE_KEYS, FindExtended, decode_find_extended
from dcmkit.uids import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dcmkit.cli.answers import Extraction, Printer
    from dcmkit.cli.options import Peer
    from dcmkit.protocol.pdu import AssociateRQ
    from dcmkit.settings import RequestorSettings, RetrySettings

log = get_logger("findscu")

_STUDY_DATE, _STUDY_TIME, _CHARSET = 0x00080020, 0x00080030, 0x00080005
_WORDS = (
    "relational queries (--relational)",
    "combined date and time (--combined-datetime)",
    "fuzzy matching (--fuzzy)",
)


class Plan(NamedTuple):
    """How to ask.

    Attributes:
        sop_class_uid: the information model.
        settings, rq: whom to ask for an association, and what to ask for.
        retry: what to do where there is none to be had.
        charsets: of request and answers.
        wanted: what was asked for by extended negotiation.
        limit: take so many answers of all queries, then cancel; 0 is no limit.
        cancel_after: cancel each query after so many answers, but take what still comes; 0 is never.
        window: days of Study Date to ask for at a time; 0 for all at once.
        abort: end with an abort instead of a release.
    """

    sop_class_uid: str
    settings: RequestorSettings
    rq: AssociateRQ
    retry: RetrySettings
    charsets: Charsets
    wanted: FindExtended
    limit: int
    cancel_after: int
    window: int
    abort: bool


class Asking:
    """Asks all queries over one association, or as many as it takes.

    Args:
        peer: whom to ask.
        plan: how.
        show: where answers are printed; None for nowhere.
        files: where they are written.
    """

    def __init__(self, peer: Peer, plan: Plan, show: Printer | None, files: Extraction) -> None:
        self._peer = peer
        self._plan = plan
        self._show = show
        self._files = files
        self._association: Association | None = None
        self._retries = plan.retry.retries
        self._answers = 0  # of all queries
        self._faulty = 0
        self._seen: set[object] | None = None  # unique keys, where pieces of a query overlap

    def run(self, queries: Sequence[DataSet]) -> ExitCode:
        """Ask; every failure is told, one does not stop the others unless the association cannot be had again."""
        failures: list[DcmkitError] = []
        try:
            for query in queries:
                try:
                    self._ask(query)
                except StatusError as error:
                    failures.append(error)
                if self._enough:
                    break
            self._end()
        except BaseException:
            if self._association is not None:
                self._association.abort()
            raise
        finally:
            self._close()
        if len(failures) == 1 == len(queries):
            raise failures[0]
        for failure in failures:
            say(f"{environment.program}: error: {failure}")
        if self._faulty:
            say(f"{environment.program}: error: {self._faulty} of the peer's answers could not be read or written")
            return ExitCode.PARTLY_DONE if self._answers else ExitCode.NOTHING_DONE
        if failures:
            return ExitCode.REQUEST_FAILED if len(failures) == len(queries) else ExitCode.PARTLY_DONE
        return ExitCode.DONE

    @property
    def _enough(self) -> bool:
        return bool(self._plan.limit) and self._answers >= self._plan.limit

    def _close(self) -> None:
        try:
            if self._show is not None:
                self._show.close()
        finally:
            self._files.close()

    # --- the association ---

    def _associate(self) -> Association:
        """The one there is, or a new one; after a failure that may pass, again."""
        while self._association is None:
            try:
                self._association = Association.request(
                    self._peer.host, self._peer.port, self._plan.rq, self._plan.settings
                )
            except NetworkError as error:
                self._try_again(error)
            else:
                self._check_negotiated(self._association)
        return self._association

    def _try_again(self, error: NetworkError) -> None:
        """Wait for the next attempt, or raise what ended the last one."""
        permanent = isinstance(error, AssociationRejectedError) and error.result == 1  # PS3.8 9.3.4
        if self._retries <= 0 or permanent:
            raise error
        self._retries -= 1
        log.warning("%s; asking again in %g s", error, self._plan.retry.retry_delay)
        if self._show is not None:
            self._show.pause()
        sleep(self._plan.retry.retry_delay)

    def _check_negotiated(self, association: Association) -> None:
        """Say what the peer did not agree to."""
        if not any(self._plan.wanted):
            return
        answers = [item.information for item in association.ac.user_information.extended
                   if item.sop_class_uid == self._plan.sop_class_uid]  # fmt: skip
        agreed = decode_find_extended(answers[0]) if answers else FindExtended()
        for name, wanted, got in zip(_WORDS, self._plan.wanted, agreed, strict=False):
            if wanted and not got:
                log.warning("the peer did not agree to %s; what it answers may be less, or an error", name)

    def _end(self) -> None:
        association = self._association
        if association is None:
            return
        if self._plan.abort:
            association.abort()
            return
        try:
            association.release()
        except NetworkError as error:
            log.warning("the association was not released in order: %s", error)

    # --- asking ---

    def _ask(self, query: DataSet) -> None:
        if self._plan.window:
            self._ask_in_windows(query)
            return
        finding = self._ask_once(query)
        finding.require_success()
        self._tell(finding)

    def _ask_once(self, query: DataSet, what: str = "") -> Finding:
        """One C-FIND, its answers printed. Where the association is lost before any came, it is asked again."""
        plan = self._plan
        while True:
            began = perf_counter()
            before = self._answers
            try:
                finding = find(
                    self._associate(),
                    plan.sop_class_uid,
                    query,
                    charset=text(query, _CHARSET) or plan.charsets.request,
                    assume_charset=plan.charsets.assume,
                    override_charset=plan.charsets.override,
                    limit=plan.limit - self._answers if plan.limit and self._seen is None else 0,
                    cancel_after=plan.cancel_after,
                    on_pause=self._show.pause if self._show is not None else None,
                )
                self._take(finding)
            except (NoPresentationContextError, UsageError):
                self._end()
                self._association = None
                raise
            except NetworkError as error:
                self._association = None
                if self._answers > before and self._seen is None:
                    raise
                self._try_again(error)
                continue
            log.info("%s%d answers in %.1f ms", what, finding.count, (perf_counter() - began) * 1000)
            self._faulty += finding.faulty
            return finding

    def _take(self, finding: Finding) -> None:
        add = self._show.add if self._show is not None else None
        files = self._files if self._files.wanted else None
        for answer in self._new(finding) if self._seen is not None else finding:
            self._answers += 1
            if add is not None:
                add(answer)
            if files is not None:
                try:
                    files.add(answer)
                except InvalidDataSetError as error:
                    self._faulty += 1
                    log.warning("answer %d cannot be written: %s", self._answers, error)

    def _new(self, finding: Finding) -> Iterator[DataSet]:
        """The answers that have not been there before, as many as are wanted."""
        assert self._seen is not None
        for answer in finding:
            level = text(answer, QUERY_RETRIEVE_LEVEL) or "STUDY"
            unique = text(answer, UNIQUE_KEYS.get(level, UNIQUE_KEYS["STUDY"])) or repr(answer)
            if unique in self._seen:
                continue
            if self._enough:
                finding.cancel()
                continue
            self._seen.add(unique)
            yield answer

    def _ask_in_windows(self, query: DataSet) -> None:
        from dcmkit.services.date_windows import DateWindows

        self._seen = set()
        by_time = not text(query, _STUDY_TIME)
        windows = DateWindows(text(query, _STUDY_DATE), self._plan.window, by_time=by_time)
        refused: Finding | None = None
        for window in windows:
            keys = {**query, _STUDY_DATE: Element("DA", window.date)}
            if window.time:
                keys[_STUDY_TIME] = Element("TM", window.time)
            finding = self._ask_once(keys, f"{window}: ")
            if self._enough:
                log.warning("stopped after %d answers; there may be more", self._answers)
                break
            if not finding.capped:
                finding.require_success()
            if finding.capped or is_suspicious(finding.count):
                if windows.halve(window):
                    log.info("%s: the peer may have more; asking for each half", window)
                elif finding.capped:
                    log.warning(
                        "%s: there are more studies than the peer answers, and they cannot be told apart", window
                    )
                    refused = finding
                else:
                    log.warning("%s: exactly %d answers, and no shorter time to ask for", window, finding.count)
            elif finding.count:
                windows.found_something()
            else:
                windows.found_nothing()
        if refused is not None:
            raise StatusError(
                refused.describe(), status=refused.status, hint="some studies are missing from the answers"
            )

    def _tell(self, finding: Finding) -> None:
        """What a person should know about answers that came in good order."""
        if finding.keys_unsupported:
            log.warning("the peer does not support some of the optional keys (FF01H)")
        if finding.cancelled:
            log.warning("cancelled after %d answers; the peer may have more", finding.count)
        elif finding.capped:
            log.warning("%s", finding.describe())
        elif is_suspicious(finding.count):
            log.warning(
                "exactly %d answers: the peer may have more and stop there (--split-date 7d asks in pieces)",
                finding.count,
            )
        elif not finding.count:
            log.info("no matches for %s", name_of(self._plan.sop_class_uid))

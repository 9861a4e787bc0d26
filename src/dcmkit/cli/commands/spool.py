"""See what waits to be forwarded, try it again, or forget it"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.options import NodeOption, tool_group
from dcmkit.cli.output import FORMATS, emit, say
from dcmkit.errors import ExitCode, OutputDirectoryError, UsageError
from dcmkit.services.spool import DEAD, FAILING, WAITING, Spool, backlog

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = (
    ("What the service on the directory router has still to deliver", "dcmkit spool ls router"),
    ("The dead letters, each with its reason, as JSON", "dcmkit spool ls router --objects --state dead --format json"),
    ("Try the dead letters again, now that the peer takes them", "dcmkit spool retry router --state dead"),
    ("Forget what a peer will never take", "dcmkit spool rm router --to @pacs --state dead --yes"),
)

STATES = (WAITING, FAILING, DEAD)

command = tool_group(
    "spool",
    """Look after what `dcmkit storescp --forward` has still to deliver.

    DIRECTORY is the one objects are stored in. An object waits until it is delivered; it is failing when that was
    tried in vain, and a dead letter when the peer has refused it as often as --forward-attempts says. A running service
    sees at once what is changed here.""",
)


def _selection(function: Callable[..., Any]) -> Callable[..., Any]:
    """The directory, and what is chosen of it."""
    function = click.option("--state", type=click.Choice(STATES), default=None, help="only what is in this state")(
        function
    )
    function = click.option(
        "--to",
        cls=NodeOption,
        metavar="PEER",
        default="",
        help="only what is for this peer: as --forward, or a node's name",
    )(function)
    function = click.argument("uids", nargs=-1, metavar="[SOP-INSTANCE-UID...]")(function)
    return click.argument("directory", metavar="DIRECTORY")(function)


def _peer(spool: Spool, to: str) -> str:
    """The peer that is meant: a node may have gone from the configuration, and then cannot be written with its @."""
    return f"@{to}" if f"@{to}" in spool.destinations() else to


def _open(directory: str) -> Spool:
    spool = Spool(directory)
    if not spool.exists():
        hint = "name the directory of a dcmkit storescp --forward"
        raise OutputDirectoryError(f"{directory} has no spool", hint=hint)
    return spool.open()


@command.command("ls")
@_selection
@click.option("--objects", is_flag=True, help="a line for each object and peer, in place of counts")
@click.option("--format", type=click.Choice(FORMATS), default="table", help="how to print it")
def ls(directory: str, uids: tuple[str, ...], to: str, state: str | None, objects: bool, format: str) -> None:  # noqa: A002
    """Count what waits, by peer, state and reason; with --objects or UIDs, list it.

    A peer that cannot be reached has a line of its own: how often that was tried, why it failed, when it is tried next.
    So has how many seconds the oldest object for a peer waits, dead letters aside.
    """
    spool = _open(directory)
    to = _peer(spool, to)
    if objects or uids:
        columns = ("to", "state", "attempts", "queued", "next", "sop_instance_uid", "path", "reason")
        emit(_objects(spool, to, state or "", uids), columns, format)
    else:
        emit(_counts(spool, to, state or ""), ("to", "state", "number", "next", "reason"), format)
    spool.close()


def _objects(spool: Spool, to: str, state: str, uids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for entry in spool.entries(to, state, uids):
        shown = FAILING if entry.state == WAITING and entry.attempts else entry.state
        yield {
            "to": entry.destination, "state": shown, "attempts": entry.attempts, "queued": _moment(entry.queued),
            "next": _next(entry.next_attempt) if entry.state == WAITING else "",
            "sop_instance_uid": entry.sop_instance_uid, "path": entry.path, "reason": entry.reason,
        }  # fmt: skip


def _counts(spool: Spool, to: str, state: str) -> Iterator[dict[str, Any]]:
    counts = spool.counts(to)
    waiting = backlog(spool.directory)
    for name, hold in spool.destinations().items():
        if to and name != to:
            continue
        if not state:
            yield _count(name, "delivered", hold.delivered)
            if hold.failures:
                yield _count(name, "not reached", hold.failures, hold.reason, _next(hold.next_attempt))
            if name in waiting and waiting[name].oldest:
                yield _count(name, "seconds waited", max(0, int(time.time() - waiting[name].oldest)))
        for destination, shown, number, reason in counts:
            if destination == name and shown in STATES and state in ("", shown):
                yield _count(name, shown, number, reason)


def _count(name: str, state: str, number: int, reason: str = "", following: str = "") -> dict[str, Any]:
    return {"to": name, "state": state, "number": number, "next": following, "reason": reason}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _next(seconds: float) -> str:
    return _moment(seconds) if seconds > time.time() else "now"


@command.command("retry")
@_selection
def retry(directory: str, uids: tuple[str, ...], to: str, state: str | None) -> ExitCode:
    """Try again at once: everything, or what is chosen; dead letters are letters again."""
    spool = _open(directory)
    number = spool.retry(_peer(spool, to), state or "", uids)
    spool.close()
    return _told(number, "to be tried again")


@command.command("rm")
@_selection
@click.option("--yes", is_flag=True, help="do not ask")
def rm(directory: str, uids: tuple[str, ...], to: str, state: str | None, yes: bool) -> ExitCode:
    """Forget what is chosen: it is not delivered any more. The files stay where they are."""
    if not (uids or to or state):
        raise UsageError("nothing chosen", hint="say which: --state dead, --to PEER, or SOP Instance UIDs")
    spool = _open(directory)
    to = _peer(spool, to)
    number = len(spool.entries(to, state or "", uids))
    if number and not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{number} deliveries match, and nobody is here to ask", hint="say --yes")
        if not click.confirm(f"Forget {number} deliveries?", err=True):
            say("nothing was forgotten")
            return ExitCode.BAD_USAGE
    number = spool.forget(to, state or "", uids)
    spool.close()
    return _told(number, "forgotten")


def _told(number: int, what: str) -> ExitCode:
    if not number:
        say("nothing matches")
        return ExitCode.NOTHING_DONE
    say(f"{number} deliveries are {what}")
    return ExitCode.DONE

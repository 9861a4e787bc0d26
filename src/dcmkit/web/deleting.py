"""Delete studies, series and instances, and have them back.

DICOM has no such transaction; what is here answers as others do: DELETE on a resource of the Studies Service, 204. What
is deleted goes into the trash of the archive unless that is not wanted, and `/trash` shows it to those who may.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from dcmkit.archive import trash
from dcmkit.uids import is_uid
from dcmkit.web.exchange import HttpError, NotFoundError, Reply, Request
from dcmkit.web.routes import QueryParameter, Route

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

JSON = "application/json"
_DAY = 86400.0
_LONGEST = 36500.0
_REASONS = 10
_GONE = {204: "it is deleted", 409: "part of it waits to be delivered, or has changed: see the answer"}


class Deleting:
    """The delete transactions.

    Args:
        trash: whether what is deleted can be had back; `TrashKeeper` sees to it that it does not stay for ever.
    """

    def __init__(self, archive: Archive, *, trash: bool = True) -> None:
        self._archive = archive
        self._trash = trash

    def routes(self) -> tuple[Route, ...]:
        """What is answered."""
        routes = [
            Route(
                "DELETE", template, self.delete, ("delete",), f"delete{name}", f"Delete {words}", "Delete",
                statuses=_GONE,
            )
            for template, name, words in (
                ("/studies/{study}", "Study", "a study"),
                ("/studies/{study}/series/{series}", "Series", "a series"),
                ("/studies/{study}/series/{series}/instances/{instance}", "Instance", "an instance"),
            )
        ]  # fmt: skip
        if not self._trash:
            return tuple(routes)
        days = QueryParameter("days", "what was deleted longer ago than this many days; 0 is all", "number")
        admin, there = ("admin",), {204: "it is gone for good"}
        return (
            *routes,
            Route("GET", "/trash", self.show, admin, "listTrash", "What is in the trash", "Delete", produces=(JSON,)),
            Route("DELETE", "/trash", self.empty, admin, "emptyTrash", "Empty the trash", "Delete", (days,),
                  statuses=there),
            Route("POST", "/trash/{id}/restore", self.restore, admin, "restoreFromTrash", "Have a deletion back",
                  "Delete", produces=(JSON,), statuses={409: "nothing of it can come back"}),
            Route("DELETE", "/trash/{id}", self.discard, admin, "discardFromTrash", "Remove a deletion for good",
                  "Delete", statuses=there),
        )  # fmt: skip

    def delete(self, request: Request) -> Reply:
        """Delete what the path names.

        Raises:
            NotFoundError: there is no such thing.
            ForbiddenError: whoever asks is limited to other studies.
            NeededError, HttpError: it cannot be deleted now (409).
            OutputError: something cannot be removed.
        """
        uids = [request.variables[name] for name in ("study", "series", "instance") if name in request.variables]
        done = None
        if all(is_uid(uid) for uid in uids):
            request.identity.require("delete", uids[0])
            done = trash.delete(self._archive, *uids, trash=self._trash, by=request.identity.name)
        if done is None:
            raise NotFoundError(f"there is no such {('study', 'series', 'instance')[len(uids) - 1]}")
        if done.kept:
            raise HttpError(
                409, f"{done.kept} files were not deleted: they have changed since they were indexed",
                hint="dcmkit index check --repair indexes them as they are now",
            )  # fmt: skip
        return Reply(204)

    def show(self, request: Request) -> Reply:
        """What is in the trash, the newest first."""
        found = [
            {
                "id": one.identifier,
                "deleted": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.deleted)),
                "study": one.study,
                **({"series": one.series} if one.series else {}),
                **({"instance": one.instance} if one.instance else {}),
                "by": one.by,
                "instances": one.instances,
                "bytes": one.size,
            }
            for one in trash.discarded(self._archive)
        ]
        return Reply(200, json.dumps(found).encode(), JSON)

    def restore(self, request: Request) -> Reply:
        """Have back what a deletion took. Raises: NotInTrashError, OutputError, HttpError (409)."""
        done = trash.restore(self._archive, request.variables["id"])
        reasons = list(dict.fromkeys(done.left))[:_REASONS]
        if done.left and not done.instances:
            raise HttpError(409, f"nothing of it can come back: {'; '.join(reasons)}")
        content = {"restored": done.instances, "left": len(done.left), "reasons": reasons}
        return Reply(200, json.dumps(content).encode(), JSON)

    def discard(self, request: Request) -> Reply:
        """Remove for good what a deletion took. Raises: NotInTrashError, OutputError."""
        trash.discard(self._archive, request.variables["id"])
        return Reply(204)

    def empty(self, request: Request) -> Reply:
        """Empty the trash. Raises: HttpError (400), OutputError."""
        text = request.parameter("days") or "0"
        try:
            days = float(text)
        except ValueError:
            days = -1.0
        if not 0 <= days <= _LONGEST:
            raise HttpError(400, "days is not a number of days")
        trash.purge(self._archive, days * _DAY)
        return Reply(204)

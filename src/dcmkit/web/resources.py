"""What a path names, found in the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.archive.located import Located, locate
from dcmkit.services.find import catch_up
from dcmkit.uids import is_uid
from dcmkit.web.exchange import NotFoundError, Request, make_etag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dcmkit.archive.store import Archive


def instances_of(archive: Archive, request: Request) -> list[Located]:
    """The instances that `study`, `series` and `instance` of a request's path name, as far down as it goes.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: whoever asks is limited to other studies.
        OutputError: the index cannot be read.
    """
    return located(archive, request, request.variables)


def located(archive: Archive, request: Request, named: Mapping[str, str]) -> list[Located]:
    """The same for UIDs that come otherwise, a query for instance."""
    study, series, instance = (named.get(name, "") for name in ("study", "series", "instance"))
    catch_up(archive)
    given = [uid for uid in (study, series, instance) if uid]
    found = locate(archive, study, series, instance) if given and all(is_uid(uid) for uid in given) else []
    if not found:
        raise NotFoundError(f"there is no such {'instance' if instance else 'series' if series else 'study'}")
    if request.identity.studies is not None:
        for uid in {one.study for one in found}:
            request.identity.require("retrieve", uid)
    return found


def etag_of(instances: Iterable[Located], *more: str | int) -> str:
    """The entity tag of what is made of instances; another one as soon as one of their files is."""
    return make_etag(*(one.version for one in instances), *more)

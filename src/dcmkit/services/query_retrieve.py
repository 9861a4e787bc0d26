"""An archive as a service: C-ECHO, C-STORE, C-FIND, C-MOVE and C-GET, under one AE title or several."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive.adding import fill
from dcmkit.archive.quota import Quota
from dcmkit.archive.store import Archive
from dcmkit.errors import OutputDirectoryError, UsageError
from dcmkit.logs import get_logger
from dcmkit.services.access import Guarded, MoveTargets, RestrictedEntity, Rights, Served
from dcmkit.services.application_entity import ApplicationEntities
from dcmkit.services.find import FindSCP
from dcmkit.services.models import MODELS, Model
from dcmkit.services.retrieve import RetrieveSCP
from dcmkit.services.server import Forwards, door, serve
from dcmkit.services.storage import StorageSCP
from dcmkit.services.verification import VerificationSCP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.net.listener import Listener
    from dcmkit.services.anonymizing import Anonymization
    from dcmkit.services.application_entity import Service
    from dcmkit.services.forwarding import Forwarder
    from dcmkit.services.server import Companion
    from dcmkit.services.storage import Destination
    from dcmkit.settings import ArchiveSettings, AssociationSettings, ListenerSettings

log = get_logger("services")

INDEX_OF_DCMTK = "index.dat"


class Offer(NamedTuple):
    """What is offered, and how.

    Attributes:
        models: the information models.
        get: whether C-GET is.
        strict_find, strict_retrieve: refuse identifiers that are not as the standard asks.
        require_find: refuse retrieves where C-FIND was not negotiated too.
        limit: the most answers to a query; 0 for no limit.
        charset, override_charset: Specific Character Set of answers where the request names none, or in any case.
        known_only: store the SOP classes of the standard only.
        preferred: transfer syntaxes to choose where they are proposed.
        timezone: of objects that do not say theirs, a name or an offset; "" for that of the system.
    """

    models: tuple[Model, ...] = MODELS
    get: bool = True
    strict_find: bool = False
    strict_retrieve: bool = False
    require_find: bool = False
    limit: int = 0
    charset: str = ""
    override_charset: bool = False
    known_only: bool = False
    preferred: tuple[str, ...] = ()
    timezone: str = ""


class Beside(NamedTuple):
    """Another service over one of the archives.

    Attributes:
        make: makes it over an archive; told what objects go through on their way in, and what its AE title may do.
        ae_title: whose archive; "" for the first one's.
    """

    make: Callable[[Archive, Destination, Rights], Companion]
    ae_title: str = ""

    def one_of(self, served: Sequence[Served]) -> Served:
        """Whose archive it is. Raises: UsageError."""
        for one in served:
            if self.ae_title in ("", one.ae_title):
                return one
        titles = ", ".join(one.ae_title for one in served)
        raise UsageError(f"no AE title {self.ae_title} is served here", hint=f"there are {titles}")


def serve_archives(
    port: int,
    served: Sequence[Served],
    targets: MoveTargets,
    offer: Offer,
    listener: ListenerSettings,
    association: AssociationSettings,
    archive: ArchiveSettings,
    *,
    any_title: bool = False,
    forwards: Forwards | None = None,
    anonymization: Anonymization | None = None,
    beside: Beside | None = None,
    on_ready: Callable[[Listener], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        port: where to listen; 0 lets the system choose.
        served: the AE titles, each with its directory; several may share one.
        targets: where a C-MOVE may go.
        offer: what is offered.
        listener, association: as set.
        archive: as set for every archive, but for its directory and its quota.
        any_title: the first of `served` answers under every other title too.
        forwards: where what is stored goes next.
        anonymization: what is done with it before it is stored.
        beside: another service over the archive of one of them.
        on_ready: as for `server.serve`.

    Raises:
        UsageError: a directory cannot be shared so.
        ListenError: the port cannot be had.
        OutputError: an archive cannot be used.
    """
    archives = _archives(served, archive)
    doors: dict[str, Destination] = {}
    forwarders: list[Forwarder] = []
    for place, store in archives.items():
        doors[place], more = door(store, forwards, anonymization)
        forwarders += more
    entities = {
        one.ae_title: _entity(one, archives[_place(one)], doors[_place(one)], targets, offer, association, listener)
        for one in served
    }
    default = entities[served[0].ae_title] if any_title else None
    for store in archives.values():
        take_over(store)
    companion = None
    if beside is not None:
        one = beside.one_of(served)
        companion = beside.make(archives[_place(one)], doors[_place(one)], one.rights)
    stores = list(archives.values())
    ae = ApplicationEntities(entities, default)
    serve(port, listener, association, ae, stores, forwarders, companion=companion, on_ready=on_ready)


def _place(served: Served) -> str:
    return os.path.realpath(served.directory)


def _archives(served: Sequence[Served], settings: ArchiveSettings) -> dict[str, Archive]:
    """One archive for each directory. Raises: UsageError."""
    quotas: dict[str, Quota] = {}
    for one in served:
        place = _place(one)
        quota = Quota(one.max_studies, one.max_size, one.max_study_size)
        if os.path.dirname(place) == place:
            raise UsageError(f"{one.ae_title}: {place} is the whole file system, no storage area")
        if one.rights.store or place not in quotas:  # who may only read has no say
            quotas[place] = quota
    for place in quotas:
        for other in quotas:
            if place != other and os.path.commonpath((place, other)) == place:
                raise UsageError(f"{other} lies within {place}", hint="give each AE title a directory of its own")
    return {
        place: Archive(settings.replace(output_directory=place), quota if any(quota) else None)
        for place, quota in quotas.items()
    }


def _entity(
    served: Served,
    archive: Archive,
    destination: Destination,
    targets: MoveTargets,
    offer: Offer,
    association: AssociationSettings,
    listener: ListenerSettings,
) -> RestrictedEntity:
    """The services of one AE title: those it has the rights for."""
    services: list[Service] = [VerificationSCP()]
    rights = served.rights
    if rights.query:
        find = FindSCP(
            archive,
            models=offer.models,
            strict=offer.strict_find,
            limit=offer.limit,
            charset=offer.charset,
            override_charset=offer.override_charset,
            timezone=offer.timezone,
        )
        services.append(Guarded(find, served, "query"))
    retrieve = RetrieveSCP(
        archive,
        targets,
        models=offer.models,
        get=offer.get,
        strict=offer.strict_retrieve,
        require_find=offer.require_find,
    )
    if rights.store:
        services.append(Guarded(StorageSCP(destination, known_only=offer.known_only), served, "store"))
    if rights.retrieve:
        services.append(Guarded(retrieve, served, "retrieve"))
    own = association.replace(calling_ae_title=served.ae_title)
    return RestrictedEntity(served, services, own, listener, preferred=offer.preferred)


def take_over(archive: Archive) -> int:
    """Index the objects of a directory that has no index yet; how many that were.

    Raises:
        OutputError: the index cannot be made.
    """
    root = archive.root
    if os.path.exists(archive.index.path):
        return 0
    try:
        if not os.path.isdir(root) or not os.listdir(root):
            return 0
    except OSError as error:
        raise OutputDirectoryError(f"the archive cannot be used: {error.strerror}", hint=root) from None
    if os.path.isfile(os.path.join(root, INDEX_OF_DCMTK)):
        log.warning("%s has an index of DCMTK's, which is left alone: the files are indexed anew", root)
    else:
        log.warning("%s has no index yet: its files are indexed", root)
    with archive:
        added = fill(archive, archive.index, {})
    log.warning("%s: %d objects are in the index", root, added.added)
    return added.added

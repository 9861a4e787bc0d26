"""The table of what the server answers: handler modules list their routes; server, WADL and OpenAPI read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dcmkit.web.exchange import Handler, Reply, Request

_VARIABLE = re.compile(r"\{([a-z]+)(:rest)?\}")


class QueryParameter(NamedTuple):
    """A parameter of a route's query, for those who describe it.

    Attributes:
        kind: a type of JSON Schema: `string`, `integer`, `number`, `boolean`.
        values: all it may be; none where there are too many.
    """

    name: str
    summary: str
    kind: str = "string"
    values: tuple[str, ...] = ()
    required: bool = False


class Route(NamedTuple):
    """One transaction on one kind of resource.

    Attributes:
        method: GET (HEAD is answered by it too), POST, PUT, DELETE or OPTIONS.
        template: below the root of the service, as `/studies/{study}`. `{path:rest}`, at the end only, is everything
            that is left, slashes too.
        handler: answers it, in a thread.
        scopes: what whoever asks needs (`identity.SCOPES`).
        operation: a name for it, the only one such: `searchForStudies`.
        summary: one line, for people.
        tag: the transaction it belongs to: `Search`, `Retrieve`, `Store`, `Delete`, `Rendered`, `URI`, `Server`.
        parameters: of its query.
        accepts: media types of its request's body.
        produces: media types of its answer, the default first.
        statuses: those it answers with beside the usual ones (200, 400, 401, 403, 404, 406), and what they mean.
        filters: whether the handler keeps to `identity.studies` itself where the path does not name a study.
        stores: whether its body may be as large as what is stored, rather than a form.
        quick: answers it on the event loop if a few milliseconds are enough for that, and the change of threads would
            be most of its time; None says that the handler has to.
    """

    method: str
    template: str
    handler: Handler
    scopes: tuple[str, ...]
    operation: str
    summary: str
    tag: str
    parameters: tuple[QueryParameter, ...] = ()
    accepts: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    statuses: Mapping[int, str] = {}
    filters: bool = False
    stores: bool = False
    quick: Callable[[Request], Reply | None] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The names in its template."""
        return tuple(name for name, _ in _VARIABLE.findall(self.template))


class Found(NamedTuple):
    """What a path leads to: the routes by method, and the variables of the path."""

    methods: Mapping[str, Route]
    variables: Mapping[str, str]


class Routes:
    """All routes of a server. Raises: ValueError when two are the same."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all: Sequence[Route] = tuple(routes)
        self._by_shape: dict[tuple[str, ...], dict[str, Route]] = {}
        self._rests: list[tuple[tuple[str, ...], dict[str, Route]]] = []
        for route in self.all:
            shape = tuple(_VARIABLE.sub("{}", part) for part in route.template.strip("/").split("/"))
            if ":rest}" in route.template:
                methods = next((found for other, found in self._rests if other == shape[:-1]), None)
                if methods is None:
                    methods = {}
                    self._rests.append((shape[:-1], methods))
            else:
                methods = self._by_shape.setdefault(shape, {})
            if route.method in methods:
                raise ValueError(f"{route.method} {route.template} twice")
            methods[route.method] = route
        self._rests.sort(key=lambda rest: -len(rest[0]))
        self._operations = len({route.operation for route in self.all})
        if self._operations != len(self.all):
            raise ValueError("an operation's name twice")

    def find(self, path: str) -> Found | None:
        """What a path leads to: still encoded, below the root. A slash at its end does not count."""
        parts = tuple(path.strip("/").split("/"))
        methods = self._by_shape.get(parts) or self._fitting(parts)
        if methods is not None:
            return Found(methods, _values(next(iter(methods.values())), parts))
        for shape, found in self._rests:
            if len(parts) > len(shape) and all(s in ("{}", p) for s, p in zip(shape, parts, strict=False)):
                head = parts[: len(shape)]
                rest = "/".join(parts[len(shape) :])
                return Found(found, _values(next(iter(found.values())), (*head, rest)))
        return None

    def _fitting(self, parts: tuple[str, ...]) -> dict[str, Route] | None:
        """The shape with the fewest variables that fits."""
        best, fewest = None, len(parts) + 1
        for shape, methods in self._by_shape.items():
            if len(shape) == len(parts) and all(s in ("{}", p) for s, p in zip(shape, parts, strict=True)):
                variables = shape.count("{}")
                if variables < fewest and all(parts[at] for at, s in enumerate(shape) if s == "{}"):
                    best, fewest = methods, variables
        return best


def _values(route: Route, parts: Sequence[str]) -> dict[str, str]:
    names = route.template.strip("/").split("/")
    return {
        found[1]: unquote_to_bytes(part).decode("utf-8", "replace")
        for name, part in zip(names, parts, strict=True)
        if (found := _VARIABLE.fullmatch(name))
    }

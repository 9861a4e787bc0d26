"""The routes of a server as an OpenAPI 3.1 document: what is in it comes from the table of routes and nowhere else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dcmkit.web.routes import QueryParameter, Route

Json = dict[str, Any]

VERSION = "3.1.0"
_REST = re.compile(r"\{([a-z]+):rest\}")
_UID = {"type": "string", "pattern": "^[0-9.]{1,64}$", "maxLength": 64}
_VARIABLES: dict[str, tuple[str, Json]] = {
    "study": ("Study Instance UID", _UID),
    "series": ("Series Instance UID", _UID),
    "instance": ("SOP Instance UID", _UID),
    "frames": (
        "Numbers of frames, from 1 on, with commas between them",
        {"type": "string", "pattern": "^[1-9][0-9]*(,[1-9][0-9]*)*$"},
    ),
}
_IN_PARTS = frozenset({"Retrieve", "Rendered"})
_FROM_ZERO = frozenset({"limit", "offset"})
_MEANINGS = {
    304: "What the user agent has is still right.",
    400: "The request is wrong; the problem says what.",
    401: "Nobody known: credentials are missing or wrong.",
    403: "Somebody known, who may not do this.",
    404: "There is no such thing, or not for whoever asks.",
    406: "None of the accepted media types is there.",
}
_ERRORS = (400, 401, 403, 404, 406)
_SCHEMAS: Json = {
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["title", "status", "detail"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "hint": {"type": "string", "description": "What to do about it."},
        },
    },
    "Attribute": {
        "type": "object",
        "description": "An attribute in the DICOM JSON model (PS3.18 F.2.2).",
        "required": ["vr"],
        "properties": {
            "vr": {"type": "string", "pattern": "^[A-Z]{2}$"},
            "Value": {"type": "array"},
            "BulkDataURI": {"type": "string"},
            "InlineBinary": {"type": "string"},
        },
    },
    "DataSet": {
        "type": "object",
        "description": "Attributes by tag: eight hexadecimal digits.",
        "additionalProperties": {"$ref": "#/components/schemas/Attribute"},
    },
}
_DATA_SET: Json = {"$ref": "#/components/schemas/DataSet"}
_SECURITY: Json = {
    "basic": {"type": "http", "scheme": "basic"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of this server, or a JWT."},
}


def document(routes: Sequence[Route], base_url: str, *, title: str, version: str) -> Json:
    """The document.

    Args:
        base_url: public URL of the root of the service.
        version: of the server.
    """
    paths: Json = {}
    for route in routes:
        if route.method == "OPTIONS":  # which is how this is found
            continue
        path = paths.setdefault(_REST.sub(r"{\1}", route.template), {})
        if "parameters" not in path and route.variables:
            path["parameters"] = [_variable(name) for name in route.variables]
        path[route.method.lower()] = _operation(route)
    return {
        "openapi": VERSION,
        "info": {
            "title": title,
            "version": version,
            "description": "DICOMweb (DICOM PS3.18): search, retrieve and store studies, series and instances.",
        },
        "servers": [{"url": base_url}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": _SCHEMAS, "securitySchemes": _SECURITY},
    }


def _operation(route: Route) -> Json:
    found: Json = {
        "operationId": route.operation,
        "summary": route.summary[:1].upper() + route.summary[1:],
        "tags": [route.tag],
        "responses": _responses(route),
    }
    if route.parameters:
        found["parameters"] = [_query_parameter(one) for one in _once(route.parameters)]
    if route.accepts:
        content = {name: _content(name, route) for name in route.accepts}
        found["requestBody"] = {"required": True, "content": content}
    if route.scopes:
        found["description"] = f"Needs the scope {' and '.join(route.scopes)}, where the server asks who asks."
        found["security"] = [{"basic": []}, {"bearer": list(route.scopes)}, {}]
    return found


def _once(parameters: Iterable[QueryParameter]) -> list[QueryParameter]:
    return list({one.name: one for one in parameters}.values())


def _variable(name: str) -> Json:
    description, schema = _VARIABLES.get(name, ("", {"type": "string", "minLength": 1}))
    found: Json = {"name": name, "in": "path", "required": True, "schema": schema}
    if description:
        found["description"] = description
    return found


def _query_parameter(parameter: QueryParameter) -> Json:
    schema: Json = {"type": parameter.kind}
    if parameter.values:
        schema["enum"] = list(parameter.values)
    if parameter.name in _FROM_ZERO:
        schema["minimum"] = 0
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.summary,
        "schema": schema,
    }


# --- answers ---------------------------------------------------------------------------------------------------------


def _responses(route: Route) -> Json:
    """Those of the route, and the usual ones; what has a body has the route's media types, errors are problems."""
    found: dict[int, Json] = {}
    if route.produces or not any(200 <= status < 300 for status in route.statuses):
        found[200] = {"description": "Done."}
    for status, meaning in route.statuses.items():
        found[status] = {"description": meaning or "See PS3.18."}
    if route.method == "GET":
        found.setdefault(304, {"description": _MEANINGS[304]})
    for status in _ERRORS if route.scopes else ():
        found.setdefault(status, {"description": _MEANINGS[status]})
    for status, answer in found.items():
        content: Json = {}
        # a store request of which nothing is stored is answered as others are (PS3.18 10.5.3.2)
        if status in (200, 201, 202, 203, 206) or (status in (400, 409) and route.tag == "Store"):
            content = {name: _content(name, route) for name in _produced(route)}
        if status >= 400:
            content |= _problem()
        if content:
            answer["content"] = content
    responses: Json = {str(status): found[status] for status in sorted(found)}
    responses["default"] = {"description": "Something else went wrong.", "content": _problem()}
    return responses


def _produced(route: Route) -> Sequence[str]:
    """Media types of answers; what is retrieved may come in parts of them (PS3.18 8.6.1.2)."""
    if route.tag in _IN_PARTS and route.produces and not any(name.startswith("multipart/") for name in route.produces):
        return *route.produces, "multipart/related"
    return route.produces


def _problem() -> Json:
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _content(media_type: str, route: Route) -> Json:
    """What is known of a body."""
    if media_type == "application/dicom+json":
        if route.tag in ("Search", "Retrieve"):
            return {"schema": {"type": "array", "items": _DATA_SET}}
        return {"schema": {"anyOf": [_DATA_SET, {"type": "array", "items": _DATA_SET}]}}
    if media_type.startswith("text/"):
        return {"schema": {"type": "string"}}
    return {}

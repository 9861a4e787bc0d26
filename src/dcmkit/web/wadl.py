"""The Capabilities Description (PS3.18 H): the routes of a server as a WADL document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.web.routes import Route

MEDIA_TYPE = "application/vnd.sun.wadl+xml"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_TYPES = {"integer": "xsd:int", "number": "xsd:double", "boolean": "xsd:boolean"}
_VARIABLE = re.compile(r"\{([a-z]+)(?::rest)?\}")


class _Resource:
    """One part of a path, what can be done there, and what is below it."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.below: dict[str, _Resource] = {}


def document(routes: Sequence[Route], base_url: str, *, title: str) -> bytes:
    """The document, in UTF-8.

    Args:
        base_url: public URL of the root of the service.
    """
    tree = _Resource()
    for route in routes:
        if route.method == "OPTIONS":  # this transaction is left out (PS3.18 H, note to table H-1)
            continue
        place = tree
        for part in filter(None, route.template.split("/")):
            place = place.below.setdefault(part, _Resource())
        place.routes.append(route)
    root = Element("application", {"xmlns": _NAMESPACE, "xmlns:xsd": _SCHEMA})
    SubElement(root, "doc", {"title": title})
    resources = SubElement(root, "resources", {"base": base_url.rstrip("/") + "/"})
    for route in tree.routes:
        _method(resources, route)
    for part, resource in tree.below.items():
        _resource(resources, part, resource)
    text: str = tostring(root, "unicode")
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + text).encode()


def _resource(parent: Any, part: str, resource: _Resource) -> None:
    variable = _VARIABLE.fullmatch(part)
    here = SubElement(parent, "resource", {"path": f"{{{variable[1]}}}" if variable else part})
    if variable:
        SubElement(here, "param", {"name": variable[1], "style": "template", "type": "xsd:string", "required": "true"})
    for route in resource.routes:
        _method(here, route)
    for name, below in resource.below.items():
        _resource(here, name, below)


def _method(parent: Any, route: Route) -> None:
    name = route.operation[:1].upper() + route.operation[1:]
    method = SubElement(parent, "method", {"name": route.method, "id": name})
    SubElement(method, "doc", {"title": route.summary})
    request = SubElement(method, "request")
    if route.produces:
        accept = SubElement(request, "param", {"name": "Accept", "style": "header", "default": route.produces[0]})
        for media_type in route.produces:
            SubElement(accept, "option", {"value": media_type})
    for parameter in {one.name: one for one in route.parameters}.values():
        described = {"name": parameter.name, "style": "query", "type": _TYPES.get(parameter.kind, "xsd:string")}
        if parameter.required:
            described["required"] = "true"
        param = SubElement(request, "param", described)
        SubElement(param, "doc", {"title": parameter.summary})
        for value in parameter.values:
            SubElement(param, "option", {"value": value})
    for media_type in route.accepts:
        SubElement(request, "representation", {"mediaType": media_type})
    success = [status for status in route.statuses if status < 300]
    if route.produces or not success:
        success.insert(0, 200)
    _response(method, success, route.produces)
    failures = sorted({400, 401, 403, 404, 406, *(status for status in route.statuses if status >= 400)})
    _response(method, failures, ("application/problem+json",))


def _response(method: Any, statuses: Sequence[int], media_types: Sequence[str]) -> None:
    response = SubElement(method, "response", {"status": " ".join(map(str, dict.fromkeys(statuses)))})
    for media_type in media_types:
        SubElement(response, "representation", {"mediaType": media_type})

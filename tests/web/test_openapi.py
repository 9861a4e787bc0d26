"""The OpenAPI document: complete, consistent in itself, and made of the routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from dcmkit.web.exchange import Reply, Request
from dcmkit.web.openapi import document
from dcmkit.web.routes import QueryParameter, Route


def handler(request: Request) -> Reply:
    return Reply()


STUDY = "/studies/{study}"
ROUTES = (
    Route("GET", "/studies", handler, ("query",), "searchForStudies", "search for studies", "Search",
          (QueryParameter("limit", "How many.", "integer"), QueryParameter("kind", "Which.", values=("a", "b")),
           QueryParameter("limit", "Again.")),
          produces=("application/dicom+json", "text/csv"), statuses={413: "Too much."}, filters=True),
    Route("POST", "/studies", handler, ("store",), "storeInstances", "store", "Store",
          accepts=('multipart/related; type="application/dicom"', "application/dicom"),
          produces=("application/dicom+json",), statuses={202: "Some.", 409: "None."}, stores=True),
    Route("GET", STUDY, handler, ("retrieve",), "retrieveStudy", "Retrieve.", "Retrieve",
          produces=('multipart/related; type="application/dicom"',)),
    Route("DELETE", STUDY, handler, ("delete",), "deleteStudy", "Delete.", "Delete", statuses={204: "Gone."}),
    Route("GET", STUDY + "/bulkdata/{path:rest}", handler, ("retrieve",), "bulk", "Bulk.", "Retrieve",
          produces=("application/octet-stream",)),
    Route("GET", STUDY + "/frames/{frames}", handler, ("retrieve",), "frames", "Frames.", "Retrieve",
          (QueryParameter("quality", "How good.", "number", required=True),), produces=("image/jpeg",)),
    Route("OPTIONS", "/", handler, (), "capabilities", "What it can do.", "Server"),
    Route("GET", "/health", handler, (), "health", "Whether it lives.", "Server", produces=("application/json",)),
)  # fmt: skip


def described(routes: tuple[Route, ...] = ROUTES) -> dict[str, Any]:
    return document(routes, "http://a/b", title="T", version="1")


def operations(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in api["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def references(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for key, value in found.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(found, list):
        for value in found:
            yield from references(value)


def check(api: dict[str, Any]) -> None:
    """What the specification of OpenAPI 3.1 asks of a document, as far as ours could break it."""
    assert api["openapi"] == "3.1.0"
    assert set(api) == {"openapi", "info", "servers", "tags", "paths", "components"}
    names = [operation["operationId"] for _, _, operation in operations(api)]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in api["tags"]}
    shapes = set()
    for path, item in api["paths"].items():
        assert path.startswith("/")
        shape = re.sub(r"\{[^}]*\}", "{}", path)
        assert shape not in shapes, "two templates that differ in the names of variables only"
        shapes.add(shape)
        variables = re.findall(r"\{([^}]*)\}", path)
        assert [one["name"] for one in item.get("parameters", [])] == variables
        assert all(one["in"] == "path" and one["required"] is True for one in item.get("parameters", []))
        assert set(item) <= {"parameters", "get", "put", "post", "delete"}
    for path, _, operation in operations(api):
        assert set(operation["tags"]) <= tags
        asked = [one["name"] for one in operation.get("parameters", [])]
        assert len(asked) == len(set(asked)), path
        for one in operation.get("parameters", []):
            assert set(one) == {"name", "in", "required", "description", "schema"}
            assert one["schema"]["type"] in ("string", "integer", "number", "boolean")
        for status, answer in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9][0-9]|default", status)
            assert set(answer) <= {"description", "content"}
            assert answer["description"]
            assert all("/" in name for name in answer.get("content", {}))
        assert any(status.startswith("2") for status in operation["responses"])
        for one in operation.get("security", []):
            assert set(one) <= set(api["components"]["securitySchemes"])
    for reference in references(api):
        place: Any = api
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_the_document_is_consistent():
    check(described())


def test_operations_are_what_routes_say():
    api = described()
    assert api["servers"] == [{"url": "http://a/b"}]
    search = api["paths"]["/studies"]["get"]
    assert search["summary"] == "Search for studies"
    assert [one["name"] for one in search["parameters"]] == ["limit", "kind"]
    assert search["parameters"][1]["schema"] == {"type": "string", "enum": ["a", "b"]}
    assert search["responses"]["200"]["content"]["application/dicom+json"]["schema"]["type"] == "array"
    assert search["responses"]["413"]["content"].keys() == {"application/problem+json"}
    assert {"304", "400", "401", "403", "404", "406", "default"} <= set(search["responses"])
    assert search["security"][0] == {"basic": []}
    store = api["paths"]["/studies"]["post"]
    assert set(store["requestBody"]["content"]) == {'multipart/related; type="application/dicom"', "application/dicom"}
    assert set(store["responses"]["409"]["content"]) == {"application/dicom+json", "application/problem+json"}
    assert set(store["responses"]["403"]["content"]) == {"application/problem+json"}
    assert set(store["responses"]["202"]["content"]) == {"application/dicom+json"}
    assert "304" not in store["responses"]
    bulk = api["paths"]["/studies/{study}/bulkdata/{path}"]["get"]["responses"]["200"]
    assert set(bulk["content"]) == {"application/octet-stream", "multipart/related"}
    gone = api["paths"]["/studies/{study}"]["delete"]["responses"]
    assert "200" not in gone
    assert "content" not in gone["204"]
    assert "security" not in api["paths"]["/health"]["get"]
    assert "/" not in api["paths"]


def test_variables_of_paths():
    api = described()
    study, path = api["paths"]["/studies/{study}/bulkdata/{path}"]["parameters"]
    assert study["schema"]["pattern"] == "^[0-9.]{1,64}$"
    assert path["schema"] == {"type": "string", "minLength": 1}
    frames = api["paths"]["/studies/{study}/frames/{frames}"]["parameters"][1]["schema"]["pattern"]
    assert re.search(frames, "1,20")
    assert not re.search(frames, "0")


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_operation_without_anything(method: str):
    api = described((Route(method, "/x", handler, (), "x", "x", "Server"),))
    check(api)
    assert api["paths"]["/x"][method.lower()]["responses"]["200"] == {"description": "Done."}

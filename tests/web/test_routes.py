"""From paths to routes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.web.exchange import Reply, Request
from dcmkit.web.routes import Route, Routes


def route(method: str, template: str) -> Route:
    def handler(request: Request) -> Reply:
        return Reply()

    return Route(method, template, handler, (), f"{method} {template}", "", "Search")


ROUTES = Routes([
    route("GET", "/studies"),
    route("POST", "/studies"),
    route("GET", "/studies/{study}"),
    route("GET", "/studies/count"),
    route("GET", "/studies/{study}/series/{series}"),
    route("GET", "/studies/{study}/bulkdata/{path:rest}"),
    route("OPTIONS", "/"),
])  # fmt: skip


@pytest.mark.parametrize(("path", "templates", "variables"), [
    ("/studies", {"/studies"}, {}),
    ("/studies/", {"/studies"}, {}),
    ("/studies/1.2", {"/studies/{study}"}, {"study": "1.2"}),
    ("/studies/count", {"/studies/count"}, {}),
    ("/studies/1%2F2", {"/studies/{study}"}, {"study": "1/2"}),
    ("/studies/1/series/2", {"/studies/{study}/series/{series}"}, {"study": "1", "series": "2"}),
    ("/studies/1/bulkdata/a/b/c", {"/studies/{study}/bulkdata/{path:rest}"}, {"study": "1", "path": "a/b/c"}),
    ("/", {"/"}, {}),
])  # fmt: skip
def test_paths(path: str, templates: set[str], variables: dict[str, str]) -> None:
    found = ROUTES.find(path)
    assert found is not None
    assert {one.template for one in found.methods.values()} == templates
    assert found.variables == variables


@pytest.mark.parametrize(
    "path", ["/x", "/studies//series/1", "/studies/1/x", "//", "/studies/1/bulkdata", "/../studies"]
)
def test_paths_that_lead_nowhere(path: str) -> None:
    assert ROUTES.find(path) is None or path == "//"


def test_methods_of_a_path() -> None:
    found = ROUTES.find("/studies")
    assert found is not None
    assert set(found.methods) == {"GET", "POST"}


@given(st.text(max_size=40))
def test_any_path_is_found_or_not(path: str) -> None:
    ROUTES.find(path)


def test_the_same_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        Routes([route("GET", "/a/{b}"), route("GET", "/a/{c}")])
    with pytest.raises(ValueError, match="operation"):
        Routes([route("GET", "/a"), route("GET", "/b")._replace(operation="GET /a")])
    assert route("GET", "/a/{b}/{rest:rest}").variables == ("b", "rest")

"""docs/dicomweb.md names every route of the service, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from dcmkit.web.service import ServiceOptions, transactions
from tests.archive.objects import archive_in

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "dicomweb.md").read_text(encoding="utf-8")
PATHS = PAGE[PAGE.index("## Paths") : PAGE.index("## What all of them")]
TABLES = PAGE[PAGE.index("## What is tested") : PAGE.index("## What is not there")]


def existing() -> set[str]:
    return {
        name
        for path in TESTS.rglob("test_*.py")
        if path != Path(__file__).resolve()
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }


def rows() -> list[list[str]]:
    """The cells of every row of the tables of tests, without the heads."""
    lines = [line for line in TABLES.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what" and set(row[0]) != {"-"}]


def test_every_row_names_tests_that_exist() -> None:
    there = existing()
    assert len(rows()) > 60
    for row in rows():
        assert len(row) == 2, row
        named = re.findall(r"`(test_\w+)`", row[1])
        assert named, row
        assert set(named) <= there, set(named) - there


def test_every_regression_test_is_on_the_page() -> None:
    regressions = {name for name in existing() if name.startswith("test_regression_")}
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert regressions <= named, regressions - named


def test_every_route_and_parameter_is_on_the_page(tmp_path: Path) -> None:
    with archive_in(tmp_path) as archive:
        routes, closers = transactions(archive, archive, ServiceOptions())
        for close in closers:
            close()
    paths = set(re.findall(r"`(?:[A-Z]+ )?(/[^` ]*)`", PATHS))
    for route in routes.all:
        template = route.template.replace("{path:rest}", "{path}")
        assert template in paths, template
        assert re.search(rf"\b{route.method}\b", PATHS), route.method
        for scope in route.scopes:
            assert f"`{scope}`" in PATHS, scope
        if route.tag != "Search":
            for parameter in route.parameters:
                assert re.search(rf"\b{parameter.name}\b", PATHS), parameter.name
    for name in ("limit", "offset", "includefield", "orderby", "fuzzymatching", "emptyvaluematching"):
        assert f"`{name}" in PATHS, name

"""docs/hostile-inputs.md says what the tests hold, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = (TESTS.parent / "docs" / "hostile-inputs.md").read_text(encoding="utf-8")


def names_below(directory: Path) -> set[str]:
    """The names of the tests below a directory."""
    return {
        name
        for path in directory.rglob("test_*.py")
        if path != Path(__file__).resolve()
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }


def rows() -> list[list[str]]:
    """The cells of every row of every table, without the heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "input" and set(row[0]) != {"-"}]


def test_every_row_names_tests_that_exist() -> None:
    existing = names_below(TESTS)
    for row in rows():
        assert len(row) == 3, row
        named = re.findall(r"`(test_\w+)`", row[2])
        assert named, row
        assert set(named) <= existing, row


def test_every_hostile_test_is_on_the_page() -> None:
    missing = names_below(TESTS / "hostile") - set(re.findall(r"`(test_\w+)`", PAGE))
    assert missing == set()


def test_every_file_named_exists() -> None:
    for name in re.findall(r"`(tests/\S+\.py)`", PAGE):
        assert (TESTS.parent / name).exists(), name

"""Fixtures of the interop tests, and a line at the end that names the peers that were not here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .peers import NAMES, absent, available
from .samples import collect


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which peers were missing: a run without them proves less."""
    here = [name for name in NAMES if name not in absent()]
    terminalreporter.write_line(f"interop peers here: {', '.join(here)}; absent: {', '.join(absent()) or 'none'}")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every sound file that can be sent, by the SOP Instance UID in its data set."""
    return collect(tmp_path_factory.mktemp("samples") / "sound")


@pytest.fixture(scope="module")
def stack() -> Iterator[contextlib.ExitStack]:
    """Context managers that are to last as long as the module."""
    with contextlib.ExitStack() as opened:
        yield opened


@pytest.fixture(scope="session")
def need() -> Callable[..., None]:
    """Skip the test unless the peers named can be run."""

    def check(*names: str) -> None:
        missing = [name for name in names if not available(name)]
        if missing:
            pytest.skip(f"absent peers: {', '.join(missing)}")

    return check

"""What tests of services share."""

from __future__ import annotations

import pytest

from dcmkit.services import server


@pytest.fixture(autouse=True)
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests goes on after the service."""
    monkeypatch.setattr(server, "tune", lambda: None)

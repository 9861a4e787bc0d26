"""No test of the command line sees the settings of whoever runs it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def cli_surroundings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("DCMKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("dcmkit.cli.configuration.SYSTEM_FILE", str(tmp_path / "etc" / "config.toml"))

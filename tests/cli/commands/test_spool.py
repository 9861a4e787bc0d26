"""dcmkit spool: what waits, tried again, forgotten."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from dcmkit.cli.commands.spool import command
from dcmkit.errors import ExitCode
from dcmkit.services.spool import Failure, Spool


def run(*arguments: object) -> Any:
    return command.main([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """To a: one dead, one failing, one waiting, one delivered; b cannot be reached."""
    root = tmp_path / "router"
    spool = Spool(str(root)).open()
    for name in ("dead", "failing", "waiting", "delivered"):
        (root / name).write_bytes(b"x")
        spool.add(["a:1"] if name == "delivered" else ["a:1", "@b"], str(root / name), f"1.{len(name)}")
    dead, failing, _, delivered = spool.due("a:1", 9)
    later = time.time() + 1000
    spool.settle("a:1", [delivered], [Failure(dead, 0.0, "never\x1b", True), Failure(failing, later, "full", False)])
    spool.hold("@b", 7, later, "nobody there")
    spool.close()
    return root


def rows(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    run("ls", *arguments, "--format", "json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_counts_by_peer_state_and_reason(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = rows(capsys, directory)
    ages = [row["number"] for row in shown if row["state"] == "seconds waited"]
    assert len(ages) == 2
    assert all(0 <= age < 60 for age in ages)
    found = [
        (row["to"], row["state"], row["number"], row["reason"]) for row in shown if row["state"] != "seconds waited"
    ]
    assert found == [
        ("@b", "delivered", 0, ""),
        ("@b", "not reached", 7, "nobody there"),
        ("@b", "waiting", 3, ""),
        ("a:1", "delivered", 1, ""),
        ("a:1", "dead", 1, "never\x1b"),
        ("a:1", "failing", 1, "full"),
        ("a:1", "waiting", 1, ""),
    ]
    assert [row["state"] for row in rows(capsys, directory, "--to", "a:1", "--state", "dead")] == ["dead"]
    assert rows(capsys, directory, "--to", "c") == []


def test_objects_are_listed(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, directory, "--objects", "--to", "a:1")
    assert [(row["path"], row["state"], row["attempts"], bool(row["next"])) for row in found] == [
        ("dead", "dead", 1, False),
        ("failing", "failing", 1, True),
        ("waiting", "waiting", 0, True),
    ]
    assert found[2]["next"] == "now"
    assert [row["to"] for row in rows(capsys, directory, "1.4")] == ["a:1", "@b"]


def test_a_terminal_gets_nothing_it_would_obey(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("ls", directory)
    shown = capsys.readouterr().out
    assert "nobody there" in shown
    assert "\x1b" not in shown


def test_a_node_is_named_with_its_sign(directory: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert [row["to"] for row in rows(capsys, directory, "--to", "b", "--state", "waiting")] == ["@b"]
    (tmp_path / "config.toml").write_text("[nodes.b]\nhost = 'b'\nport = 104\n")
    assert run("retry", directory, "--to", "@b", "--config", tmp_path / "config.toml") == ExitCode.DONE


def test_retry(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("retry", directory, "--state", "dead") == ExitCode.DONE
    assert "1 deliveries are to be tried again" in capsys.readouterr().err
    spool = Spool(str(directory)).open()
    assert {entry.path for entry in spool.due("a:1", 9)} == {"dead", "waiting"}
    assert spool.held("@b").next_attempt == 0
    spool.close()
    assert run("retry", directory, "--state", "dead") == ExitCode.NOTHING_DONE


def test_rm_forgets_rows_and_leaves_files(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rm", directory) == ExitCode.BAD_USAGE
    assert "nothing chosen" in capsys.readouterr().err
    assert run("rm", directory, "--state", "dead") == ExitCode.BAD_USAGE
    assert "1 deliveries match, and nobody is here to ask" in capsys.readouterr().err
    assert run("rm", directory, "--state", "dead", "--yes") == ExitCode.DONE
    assert run("rm", directory, "--to", "b", "--yes") == ExitCode.DONE
    assert run("rm", directory, "9.9", "--yes") == ExitCode.NOTHING_DONE
    assert [row["state"] for row in rows(capsys, directory)] == ["delivered", "seconds waited", "failing", "waiting"]
    assert len([name for name in os.listdir(directory) if not name.startswith(".")]) == 4


@pytest.mark.parametrize("answer", [True, False])
def test_rm_asks(directory: Path, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer)
    assert run("rm", directory, "--state", "dead") == (ExitCode.DONE if answer else ExitCode.BAD_USAGE)


def test_a_directory_without_a_spool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ls", "retry"):
        assert run(name, tmp_path) == ExitCode.INVALID_OUTPUT_DIRECTORY
        assert "has no spool" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

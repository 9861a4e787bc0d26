"""What tools that send have in common: lists of files, and what became of each."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dcmkit.cli.sending import SendOutcome, listed
from dcmkit.errors import ConnectError, ExitCode, InputError, InvalidDataSetError, NoPresentationContextError
from dcmkit.services.sending import Sent


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (b"", []),
        (b"a\nb c\r\n\nd", ["a", "b c", "d"]),
        (b"a\nb\0c\0", ["a\nb", "c"]),
        (b"only", ["only"]),
        ("ä\n".encode("latin-1"), ["\udce4"]),
        (b"".join(b"%06d\n" % number for number in range(30000)), [f"{number:06}" for number in range(30000)]),
    ],
)
def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, paths: list[str]) -> None:
    (tmp_path / "list").write_bytes(content)
    assert list(listed(str(tmp_path / "list"))) == paths
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert list(listed("-")) == paths


@pytest.mark.parametrize("content", [b"\0" * 128 + b"DICM" + b"\0" * 100, b"x" * 200_000])
def test_what_is_no_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(InputError, match=r"list of files"):
        list(listed(str(tmp_path / "list")))
    with pytest.raises(InputError, match="cannot be read"):
        list(listed(str(tmp_path / "none")))


def sent(status: int | None, error: object = None) -> Sent:
    return Sent("p", "1.2", "1.3", status, "why", 0.5, 7, False, error)  # type: ignore[arg-type]


def test_exit_codes() -> None:
    outcome = SendOutcome("")
    assert outcome.exit_code() == ExitCode.DONE
    outcome.add(sent(None, NoPresentationContextError("x")))
    assert outcome.exit_code() == ExitCode.NO_PRESENTATION_CONTEXT
    outcome.add(sent(0xA700))
    assert outcome.exit_code() == ExitCode.NOTHING_DONE
    outcome.add(sent(0xB000))
    assert outcome.exit_code() == ExitCode.PARTLY_DONE
    assert (outcome.done, outcome.failed) == (1, 2)


def test_the_report_and_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = SendOutcome(str(tmp_path / "report"))
    outcome.add(sent(0))
    outcome.add(sent(0xA700))
    outcome.unreadable("bad", InvalidDataSetError("no object"))
    outcome.unsent("far", ConnectError("nobody there"))
    outcome.close()
    rows = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert [(row["file"], row["status"], row["comment"]) for row in rows] == [
        ("p", "0000", "why"), ("p", "A700", "why"), ("bad", None, "no object"), ("far", None, "not sent: nobody there"),
    ]  # fmt: skip
    assert rows[0]["bytes"] == 7
    assert capsys.readouterr().err == "p: refused with status 0xA700: why\nbad: no object\n"

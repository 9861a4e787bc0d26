"""The journal of a retrieve: read back after a kill, and never mistaken for another file."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from dcmkit.errors import ExitCode
from dcmkit.services.journal import Journal, JournalError


def filled(path: Path, file: Path) -> None:
    with Journal(str(path)) as journal:
        journal.add("a", "1.1", str(file))
        journal.add("a", "1.2", "")
        journal.finish("a")
        journal.add("b", "2.1", str(file))


def test_it_knows_what_was_done(tmp_path: Path) -> None:
    file = tmp_path / "object"
    file.touch()
    filled(tmp_path / "journal", file)
    with Journal(str(tmp_path / "journal")) as journal:
        assert journal.is_done("a")
        assert not journal.is_done("b")
        assert not journal.is_done("c")
        assert journal.arrived("b") == {"2.1"}
        assert journal.arrived("c") == set()


def test_what_was_removed_since_is_not_done(tmp_path: Path) -> None:
    file = tmp_path / "object"
    filled(tmp_path / "journal", file)
    with Journal(str(tmp_path / "journal")) as journal:
        assert not journal.is_done("a")
        assert journal.arrived("a") == {"1.2"}


@pytest.mark.parametrize("left", range(1, 40, 3))
def test_a_line_cut_short_by_a_kill_is_passed_over(tmp_path: Path, left: int) -> None:
    path = tmp_path / "journal"
    filled(path, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-left])
    kept = {"2.1"} if left == 1 else set()
    with Journal(str(path)) as journal:
        assert journal.is_done("a")
        assert journal.arrived("b") == kept
        journal.add("b", "2.2", "")
    with Journal(str(path)) as journal:
        assert journal.arrived("b") == kept | {"2.2"}


@pytest.mark.parametrize("content", [b"my notes\n", b"{}\n", b"[1]", b"\xff\xfe\x00"])
def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="no journal"):
        Journal(str(path))
    assert path.read_bytes() == content


def test_it_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be opened") as caught:
        Journal(str(tmp_path / "missing" / "journal"))
    assert caught.value.exit_code == ExitCode.CANNOT_WRITE_REPORT


def test_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        write = close = full

    journal = Journal(str(tmp_path / "journal"))
    journal.close()
    monkeypatch.setattr(journal, "_file", Full())
    with pytest.raises(JournalError, match="No space left"):
        journal.add("a", "1.1", "")
    with pytest.raises(JournalError, match="No space left"):
        journal.close()


def test_a_device_is_no_journal() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no devices here")
    with pytest.raises(JournalError, match="no file"):
        Journal("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_processes_do_not_share_one(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    code = f"from dcmkit.services.journal import Journal\nJournal({path!r})"
    with Journal(path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "in use by another process" in done.stderr

"""The key file: secret, never replaced, and nothing of it in an error."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dcmkit.deid import keys
from dcmkit.errors import InputError, OutputError, UsageError


def test_what_is_created_can_be_read(tmp_path: Path):
    path = str(tmp_path / "key")
    keys.create(path)
    key = keys.read(path)
    assert len(key) == 32
    assert key == keys.read(path)
    assert key.hex() in Path(path).read_text(encoding="ascii")


def test_two_keys_differ(tmp_path: Path):
    for name in ("one", "other"):
        keys.create(str(tmp_path / name))
    assert keys.read(str(tmp_path / "one")) != keys.read(str(tmp_path / "other"))
    assert keys.ephemeral() != keys.ephemeral()
    assert len(keys.ephemeral()) == keys.SIZE


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_it(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        keys.create(str(tmp_path / "key"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_file_is_never_replaced(tmp_path: Path):
    path = tmp_path / "key"
    path.write_text("something else")
    with pytest.raises(UsageError, match="is there already"):
        keys.create(str(path))
    assert path.read_text() == "something else"


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_nothing_is_written_through_a_dangling_link(tmp_path: Path):
    os.symlink(tmp_path / "elsewhere", tmp_path / "key")
    with pytest.raises(UsageError, match="is there already"):
        keys.create(str(tmp_path / "key"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_cannot_be_written_is_told(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written"):
        keys.create(str(tmp_path / "no" / "key"))


def test_nothing_is_left_of_a_key_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        keys.create(str(tmp_path / "key"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"secret\n",
        b"00" * 31,
        b"00" * 33,
        b"00" * 32 + b"\n" + b"11" * 32,
        b"\xff" * 64,
        b"# nothing but a comment\n",
        b"0" * 100_000,
    ],
)
def test_what_is_no_key_is_told_without_its_content(tmp_path: Path, content: bytes):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="holds no key") as caught:
        keys.read(str(path))
    assert "keygen" in caught.value.hint
    if len(content) > 4:
        assert content.decode("latin-1").strip() not in str(caught.value)


def test_a_missing_key_is_told(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        keys.read(str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot be read"):
        keys.read(str(tmp_path))

"""Files of credentials are read as they are now, and fail closed."""

from __future__ import annotations

import os

import pytest

from dcmkit.errors import InputError, OutputError, UsageError
from dcmkit.web import credential_file
from dcmkit.web.credential_file import CredentialFile, WatchedFile


def parse(line):
    key, equals, value = line.partition("=")
    if not equals:
        raise UsageError("no equals sign")
    return key, value


def old(path):
    """As if it had been written a while ago."""
    os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("# who\n\na=1\r\n b=2 \n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_entries(path):
    file = CredentialFile(str(path), "test file", parse)
    assert file.entries() == {"a": "1", "b": "2"}
    assert file.get("a") == "1"
    assert file.get("c") is None


def test_changes_are_seen_even_within_one_tick_of_the_clock(path):
    file = CredentialFile(str(path), "test file", parse)
    for number in range(20):
        path.write_text(f"a={number % 10}\n", encoding="utf-8")
        assert file.get("a") == str(number % 10)
        assert file.get("b") is None


def test_a_file_that_is_the_same_is_not_read_again(path):
    old(path)
    reads = []
    file = WatchedFile(str(path), lambda strict: reads.append(strict), None)
    for _ in range(5):
        file.current()
    assert reads == [True]
    path.write_text("c=3\n", encoding="utf-8")
    file.current()
    assert len(reads) > 1


def test_a_line_that_is_none_is_an_error_at_the_start(path):
    path.write_text("a=1\nsecret\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"test file .*, line 2: no equals sign") as caught:
        CredentialFile(str(path), "test file", parse)
    assert "secret" not in str(caught.value)


def test_the_same_twice(path):
    path.write_text("a=1\na=2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2: the same"):
        CredentialFile(str(path), "test file", parse)


def test_a_line_that_is_none_is_left_out_later(path, caplog):
    file = CredentialFile(str(path), "test file", parse)
    path.write_text("a=1\nsecret\n", encoding="utf-8")
    old(path)
    assert file.entries() == {"a": "1"}
    assert "line 2" in caplog.text
    assert "secret" not in caplog.text


def test_a_file_that_is_gone_lets_nobody_in_until_it_is_back(path, caplog):
    file = CredentialFile(str(path), "test file", parse)
    content = path.read_bytes()
    path.unlink()
    for _ in range(3):
        assert file.entries() == {}
    assert caplog.text.count("nobody gets in by it") == 1
    path.write_bytes(content)
    assert file.get("a") == "1"


@pytest.mark.parametrize(
    ("content", "said"), [(b"a=\xff", "not UTF-8 at byte 2"), (b"x" * (credential_file.LARGEST + 1), "has more than")]
)
def test_what_is_no_text(path, content, said):
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        CredentialFile(str(path), "test file", parse)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        CredentialFile(str(tmp_path / "none"), "test file", parse)


@pytest.mark.skipif(os.name != "posix", reason="no modes of files here")
def test_who_can_read_it(path, caplog):
    path.chmod(0o644)
    CredentialFile(str(path), "test file", parse)
    assert "can be read by every user" in caplog.text


def test_writing_keeps_the_mode_and_leaves_nothing_else(path, tmp_path):
    path.chmod(0o640)
    credential_file.change(str(path), "test file", lambda lines: [*lines, "c=3"])
    assert path.read_text(encoding="utf-8").splitlines()[-2:] == [" b=2 ", "c=3"]
    assert os.listdir(tmp_path) == ["file"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_file_is_for_its_owner(tmp_path):
    path = tmp_path / "new"
    credential_file.change(str(path), "test file", lambda lines: [*lines, "c=3"])
    assert path.read_text(encoding="utf-8") == "c=3\n"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="no links here")
def test_a_symbolic_link_stays_one(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    credential_file.change(str(link), "test file", lambda lines: ["c=3"])
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == "c=3\n"


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        credential_file.write_lines(str(tmp_path / "none" / "file"), "test file", [])

"""TOML files are read, or it is said why not."""

from __future__ import annotations

import pytest

from dcmkit import toml
from dcmkit.errors import UsageError


def test_tables(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[tags]\nPatientName = "keep"\n', encoding="utf-8")
    assert toml.read(str(path), "file") == {"tags": {"PatientName": "keep"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[a", "is not TOML: "),
        (b'a = "\xff"', "is not TOML: byte 5 is not UTF-8"),
        (b"a = " + b"[" * 100000, "is not TOML: "),
    ],
)
def test_what_is_no_toml(tmp_path, content, said):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        toml.read(str(path), "rules file")
    assert str(caught.value).startswith(f"rules file {path} {said}")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"rules file .*a\.toml cannot be read: "):
        toml.read(str(tmp_path / "a.toml"), "rules file")


def test_suggestions():
    assert toml.suggestion("remov", {"remove", "keep"}) == "; did you mean remove?"
    assert toml.suggestion("x", {"remove", "keep"}) == ""

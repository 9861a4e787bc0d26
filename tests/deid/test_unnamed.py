"""Files without a name; the rest is in the tests of `output` and of the services that use them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmkit.deid.unnamed import UnnamedFile, digest_of


@pytest.mark.parametrize("unnamed", [True, False])
def test_nothing_is_there_before_it_has_a_name(tmp_path: Path, unnamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with UnnamedFile(str(tmp_path / "candidate"), mode=0o600) as new:
        new.write([b"one", memoryview(b"two")])
        assert Path(new.path).read_bytes() == b"onetwo"
        assert os.fstat(new.fd).st_mode & 0o777 == 0o600
        seen = []
        new.show(lambda content, forget: seen.append(bytes(content)))
        assert seen == [b"onetwo"]
        assert new.link(str(tmp_path / "a"))
        assert not new.link(str(tmp_path / "a"))
        (tmp_path / "b").write_bytes(b"old")
        new.replace(str(tmp_path / "b"))
        assert new.digest() == digest_of(str(tmp_path / "b"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

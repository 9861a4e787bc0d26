"""Zip archives as they are sent, read by zipfile and unzip."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.errors import OutputError
from dcmkit.web import zip_stream
from dcmkit.web.zip_stream import Entry, ZipStream, length_of, stream

CONTENTS = {"a/b/1.dcm": b"first" * 100, "a/b/2.dcm": b"", "c.dcm": b"x" * 1000}


def entries(contents: dict[str, bytes] = CONTENTS, cut: int = 300) -> Iterator[Entry]:
    for name, content in contents.items():
        blocks = (content[at : at + cut] for at in range(0, len(content), cut))
        yield Entry(name, len(content), blocks, 1700000000)


@pytest.mark.parametrize("whole", [0, 600, 4 << 20])
def test_it_is_read(monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    monkeypatch.setattr(zip_stream, "WHOLE", whole)
    data = b"".join(stream(entries()))
    assert length_of(entries()) == len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == CONTENTS
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.infolist()[0].date_time == (2023, 11, 14, 22, 13, 20)
        later = [info.filename for info in archive.infolist() if info.flag_bits & 8]
    assert later == [name for name, content in CONTENTS.items() if len(content) > whole]


def test_unzip_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("unzip"):
        pytest.skip("unzip is not installed")
    monkeypatch.setattr(zip_stream, "WHOLE", 600)
    (tmp_path / "made.zip").write_bytes(b"".join(stream(entries())))
    done = subprocess.run(["unzip", "-t", str(tmp_path / "made.zip")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_one() -> None:
    data = b"".join(stream(()))
    assert len(data) == length_of(()) == 22
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == []


def test_names_that_are_not_ascii() -> None:
    data = b"".join(stream([Entry("Ä/ö", 1, (b"1",))]))
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["Ä/ö"]


def test_many_entries_are_zip64() -> None:
    made = [Entry(f"{number}", 1) for number in range(70000)]
    data = b"".join(stream(one._replace(blocks=(b"1",)) for one in made))
    assert len(data) == length_of(made)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.infolist()) == 70000
        assert archive.read("69999") == b"1"


def test_large_files_are_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if everything beyond 600 bytes were beyond four gigabytes."""
    size = (1 << 32) + 10
    writer = ZipStream()
    head = writer._begin(Entry("large", size), None)
    writer._note(Entry("large", size), 7, 0)
    assert head.endswith(b"\1\0\x10\0" + bytes(16))
    assert len(writer._after(Entry("large", size), 7)) == 24
    writer._note(Entry("behind", 5), 0, size + 100)
    end = writer.end()
    assert b"PK\6\6" in end
    assert b"PK\6\7" in end
    first = end.index(b"PK\1\2", 4)
    assert end[46 + 5 : first] == b"\1\0\x10\0" + size.to_bytes(8, "little") * 2
    assert end[first + 46 + 6 :].startswith(b"\1\0\x08\0" + (size + 100).to_bytes(8, "little"))


def test_a_sparse_archive_of_five_gigabytes(tmp_path: Path) -> None:
    """zipfile reads the directory of what would be one; the content is a hole."""
    size = 5 << 30
    path = tmp_path / "large.zip"
    large, small = Entry("large", size), Entry("small", 3, (b"abc",))
    writer = ZipStream()
    with path.open("wb") as file:
        file.write(writer._begin(large, None))
        file.seek(size, 1)
        file.write(writer._after(large, 0))
        writer._note(large, 0, 0)
        for block in writer.add(small):
            file.write(block)
        file.write(writer.end())
    assert path.stat().st_size == length_of((large, small))
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == [size, 3]
        assert archive.read("small") == b"abc"


@pytest.mark.parametrize("whole", [0, 4 << 20])
@pytest.mark.parametrize("size", [4, 6])
def test_what_changed_its_length_ends_it(monkeypatch: pytest.MonkeyPatch, whole: int, size: int) -> None:
    monkeypatch.setattr(zip_stream, "WHOLE", whole)
    with pytest.raises(OutputError, match="changed its length"):
        b"".join(stream([Entry("a", size, (b"12345",))]))


@pytest.mark.parametrize("moment", [-1.0, 0.0, 1e12, 5e18])
def test_times_that_ms_dos_does_not_know(moment: float) -> None:
    data = b"".join(stream([Entry("a", 1, (b"1",), moment)]))
    assert zipfile.ZipFile(io.BytesIO(data)).infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)

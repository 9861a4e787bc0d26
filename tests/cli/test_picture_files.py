"""Names of pictures, and that they appear complete or not at all."""

from __future__ import annotations

import os

import pytest

from dcmkit.cli.picture_files import Names, is_known, media_type_for, write_atomically
from dcmkit.errors import OutputDirectoryError, OutputError, UsageError
from dcmkit.pixels.pictures import JPEG, PNG


def test_format_comes_from_the_option_or_the_name(tmp_path):
    assert media_type_for("a.jpg", None) == JPEG
    assert media_type_for("a.jpg", "png") == PNG
    assert media_type_for("", None) == media_type_for(str(tmp_path), None) == media_type_for("-", None) == PNG
    for output, form in (("a.doc", None), ("", "heic")):
        with pytest.raises(UsageError):
            media_type_for(output, form)
    assert is_known("a.JPG")
    assert not is_known("a.doc")
    assert not is_known("a")


def test_names_below_a_directory_are_as_below_what_was_named(tmp_path):
    root = tmp_path / "in"
    (root / "a").mkdir(parents=True)
    names = Names("out", [str(root), "x/1.dcm", "y/1.dcm"], True, PNG)
    assert names.of(str(root / "a" / "IM1")) == os.path.join("out", "a", "IM1.png")
    assert names.of("x/1.dcm") == os.path.join("out", "1.png")
    assert names.of("y/1.dcm") == os.path.join("out", "1~2.png")


def test_one_picture_is_called_as_said():
    assert Names("out.png", ["x"], False, PNG).of("x") == "out.png"
    assert Names.numbered("out.png", 7) == "out.7.png"


def test_a_file_is_no_directory(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(OutputDirectoryError):
        Names(str(file), ["x", "y"], True, PNG)


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    write_atomically(str(tmp_path / "new" / "a.png"), b"1")
    assert (tmp_path / "new" / "a.png").read_bytes() == b"1"
    (tmp_path / "new" / "b.png").mkdir()
    with pytest.raises(OutputError):
        write_atomically(str(tmp_path / "new" / "b.png"), b"2")
    assert sorted(os.listdir(tmp_path / "new")) == ["a.png", "b.png"]

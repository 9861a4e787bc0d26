"""Bodies in parts are written as they are read; more of it is in `test_multipart`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcmkit.web.media_types import parse_media_type
from dcmkit.web.multipart_writing import MultipartWriter, content_type, lay_out, make_boundary


@pytest.mark.parametrize("boundary", ["dcmkit-0aF", "a b", 'a"b', "a=b", "x" * 70])
def test_the_boundary_can_be_read_from_the_content_type(boundary: str) -> None:
    found = parse_media_type(content_type(boundary))
    assert found.parameters["boundary"] == boundary
    assert found.parameters["type"] == "application/dicom"


def test_a_body_and_its_length() -> None:
    pieces, length = lay_out("b", [({"A": "x\r\ny"}, 3, (b"1", b"23")), ({}, 0, ())])
    body = b"".join(pieces)
    assert body == b"--b\r\nA: x y\r\nContent-Length: 3\r\n\r\n123\r\n--b\r\nContent-Length: 0\r\n\r\n\r\n--b--\r\n"
    assert length == len(body)
    assert MultipartWriter("b").end() == b"--b--\r\n"


def test_boundaries_are_the_same_for_the_same() -> None:
    assert make_boundary(b"k", "a", b"b") == make_boundary(b"k", b"a", "b") != make_boundary(b"l", "a", "b")
    assert make_boundary(b"k", "ab") != make_boundary(b"k", "a", "b")


def test_who_writes_imports_no_reader() -> None:
    code = "import sys, dcmkit.web.multipart_writing as w; w.content_type('dcmkit-1'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "dcmkit.web.media_types" not in done.stdout.split()

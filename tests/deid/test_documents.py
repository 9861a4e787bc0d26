"""Documents with nothing in them, read by what reads such documents."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from dcmkit.deid import documents

TYPES = (*documents.MIME_TYPES, "application/xml", "text/plain", "", "application/x-unheard-of")


@pytest.mark.parametrize("mime_type", TYPES)
def test_every_type_has_one_of_even_length(mime_type):
    made = documents.dummy(mime_type)
    assert made
    assert len(made) % 2 == 0
    assert made == documents.dummy(f" {mime_type.upper()}; charset=utf-8")


def test_pdf_has_one_page_and_a_good_index():
    made = documents.dummy("application/pdf")
    start = int(re.search(rb"startxref\n(\d+)\n", made)[1])
    assert made[start:].startswith(b"xref\n0 4\n")
    places = [int(entry) for entry in re.findall(rb"(\d{10}) 00000 n \n", made)]
    assert len(places) == 3
    for number, place in enumerate(places, 1):
        assert made[place:].startswith(b"%d 0 obj\n" % number)
    assert made.count(b"/Type /Page ") == 1
    assert made.rstrip().endswith(b"%%EOF")


@pytest.mark.skipif(not shutil.which("pdfinfo"), reason="pdfinfo is not installed")
def test_pdf_is_read_by_poppler(tmp_path):
    path = tmp_path / "dummy.pdf"
    path.write_bytes(documents.dummy("application/pdf"))
    done = subprocess.run(["pdfinfo", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Pages:\s+1\n", done.stdout)
    assert done.stderr == ""


def test_cda_has_the_parts_a_header_must_have():
    root = ElementTree.fromstring(documents.dummy("text/xml"))
    space = "{urn:hl7-org:v3}"
    assert root.tag == f"{space}ClinicalDocument"
    parts = [child.tag.removeprefix(space) for child in root]
    assert parts == [
        "typeId", "id", "code", "title", "effectiveTime", "confidentialityCode", "recordTarget", "author", "custodian",
        "component",
    ]  # fmt: skip


def test_stl_has_as_many_triangles_as_it_says():
    made = documents.dummy("model/stl")
    assert len(made) == 84 + 50 * int.from_bytes(made[80:84], "little")


def test_models_are_lines_of_text():
    assert b"f 1 2 3\n" in documents.dummy("model/obj")
    assert b"newmtl " in documents.dummy("model/mtl")
    assert documents.dummy("text/plain") == b"Removed\n"

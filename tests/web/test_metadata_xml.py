"""One document of XML for an instance."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from dcmkit.archive.located import locate
from dcmkit.web.metadata_xml import native_xml
from tests.archive.objects import archive_in, put


def test_a_document(tmp_path: Path) -> None:
    with archive_in(tmp_path) as archive:
        put(archive, "1.1.1.1", study="1.1", series="1.1.1")
        archive.flush()
        (one,) = locate(archive, instance="1.1.1.1")
        root = ElementTree.fromstring(native_xml(one, None, "http://a&b"))
        found = {child.get("keyword"): child for child in root}
        assert found["PatientName"][0][0][0].text == "Doe"
        uri = found["PixelData"][0].get("uri")
        assert uri == "http://a&b/studies/1.1/series/1.1.1/instances/1.1.1.1/bulkdata/7FE00010"
        assert found["AvailableTransferSyntaxUID"][0].text == "1.2.840.10008.1.2.1"

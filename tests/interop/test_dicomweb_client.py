"""dicomweb-client, from PyPI, against `dcmkit web`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dicomweb_client")

from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from requests import HTTPError

from .web_peers import ROOT, Picture, WebServer, dcmkit_web, make_picture, make_pictures

pytestmark = [pytest.mark.interop]

EXPLICIT = "1.2.840.10008.1.2.1"
STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pictures: list[Picture]) -> Iterator[WebServer]:
    with dcmkit_web(tmp_path_factory.mktemp("web")) as running:
        made = DICOMwebClient(running.url)
        made.store_instances([dcmread(picture.path) for picture in pictures])
        yield running


@pytest.fixture
def client(server: WebServer) -> Iterator[DICOMwebClient]:
    made = DICOMwebClient(server.url)
    yield made
    made._session.close()


def values(rows: list[dict[str, Any]], tag: str) -> list[str]:
    return sorted(row[tag]["Value"][0] for row in rows)


def as_bytes(data_set: Dataset) -> bytes:
    """As a file says it, without its meta information."""
    buffer = BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    whole = buffer.getvalue()
    return whole[144 + int.from_bytes(whole[140:144], "little") :]


def test_it_stores_with_dicomweb_client(server: WebServer, pictures: list[Picture]) -> None:
    stored = server.stored()
    assert sorted(stored) == sorted(picture.instance for picture in pictures)
    for picture in pictures:
        assert as_bytes(dcmread(stored[picture.instance])) == as_bytes(dcmread(picture.path))


def test_the_answer_to_a_store_says_where_it_is(server: WebServer, client: DICOMwebClient, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, study=9)
    answer = client.store_instances([dcmread(picture.path)])
    assert answer.RetrieveURL == f"{server.url}/studies/{picture.study}"
    (item,) = answer.ReferencedSOPSequence
    assert item.ReferencedSOPInstanceUID == picture.instance
    assert item.RetrieveURL == server.url + picture.resource
    with pytest.raises(HTTPError, match="409"):
        client.store_instances([dcmread(picture.path)], study_instance_uid=f"{ROOT}.1")
    client.delete_study(picture.study)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": picture.study}) == []


def test_it_searches_all_levels_with_dicomweb_client(client: DICOMwebClient, pictures: list[Picture]) -> None:
    assert values(client.search_for_studies(), STUDY) == sorted({one.study for one in pictures})
    assert values(client.search_for_series(), SERIES) == sorted({one.series for one in pictures})
    assert values(client.search_for_instances(), INSTANCE) == sorted(one.instance for one in pictures)
    first = pictures[0]
    assert len(client.search_for_series(first.study)) == 2
    assert len(client.search_for_instances(first.study)) == 5
    assert len(client.search_for_instances(first.study, first.series)) == 4


def test_it_matches_pages_and_includes(client: DICOMwebClient, pictures: list[Picture]) -> None:
    found = client.search_for_studies(search_filters={"PatientID": "P2"}, fields=["StudyDescription", "PatientName"])
    assert values(found, STUDY) == [f"{ROOT}.2"]
    assert found[0]["00081030"]["Value"] == ["Head"]
    assert client.search_for_studies(search_filters={"PatientName": "doe^num*"}, fuzzymatching=True)
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    pages = [client.search_for_instances(limit=3, offset=at) for at in (0, 3, 6)]
    assert [len(page) for page in pages] == [3, 3, 1]
    whole = client.search_for_instances(limit=3, get_remaining=True)
    assert values(whole, INSTANCE) == sorted(one.instance for one in pictures)
    assert len(client.search_for_instances(limit=2)) == 2


def test_it_retrieves_studies_series_and_instances(client: DICOMwebClient, pictures: list[Picture]) -> None:
    first = pictures[0]
    by_uid = {picture.instance: as_bytes(dcmread(picture.path)) for picture in pictures}
    study, series = client.retrieve_study(first.study), client.retrieve_series(first.study, first.series)
    assert (len(study), len(series)) == (5, 4)
    one = client.retrieve_instance(first.study, first.series, first.instance)
    for data_set in (*study, *series, one):
        assert as_bytes(data_set) == by_uid[str(data_set.SOPInstanceUID)]
    as_stored = (("application/dicom", "*"),)
    for data_set in client.iter_study(first.study, media_types=as_stored):
        assert as_bytes(data_set) == by_uid[str(data_set.SOPInstanceUID)]
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study("1.2.3.4.5.6.7.8.9")


def test_it_retrieves_metadata_and_its_bulk_data(client: DICOMwebClient, pictures: list[Picture]) -> None:
    picture = pictures[4]
    original = dcmread(picture.path)
    assert len(client.retrieve_study_metadata(picture.study)) == 5
    assert len(client.retrieve_series_metadata(picture.study, picture.series)) == 1
    found = client.retrieve_instance_metadata(picture.study, picture.series, picture.instance)
    data_set = Dataset.from_json(json.dumps(found), bulk_data_uri_handler=lambda tag, vr, uri: b"")
    for element in original:
        if element.keyword != "PixelData":
            assert data_set[element.tag].value == element.value
    uri = found["7FE00010"]["BulkDataURI"]
    assert b"".join(client.retrieve_bulkdata(uri)) == original.PixelData
    assert b"".join(client.iter_bulkdata(uri)) == original.PixelData


def test_it_retrieves_frames(client: DICOMwebClient, pictures: list[Picture]) -> None:
    picture = pictures[4]
    where = (picture.study, picture.series, picture.instance)
    pixels = dcmread(picture.path).PixelData
    third = len(pixels) // 3
    expected = [pixels[at : at + third] for at in (0, third, 2 * third)]
    assert client.retrieve_instance_frames(*where, [1, 2, 3]) == expected
    assert client.retrieve_instance_frames(*where, [3, 1]) == [expected[2], expected[0]]
    assert list(client.iter_instance_frames(*where, [2])) == [expected[1]]
    for media_type, signature in (
        (("image/jp2", "1.2.840.10008.1.2.4.90"), b"\xff\x4f\xff\x51"),
        (("image/jls", "1.2.840.10008.1.2.4.80"), b"\xff\xd8"),
        (("image/jpeg", "1.2.840.10008.1.2.4.70"), b"\xff\xd8"),
    ):
        (frame,) = client.retrieve_instance_frames(*where, [2], media_types=(media_type,))
        assert frame.startswith(signature) or frame[4:8] == b"jP  "
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_instance_frames(*where, [4])


def test_it_retrieves_what_is_rendered(client: DICOMwebClient, pictures: list[Picture]) -> None:
    picture = pictures[4]
    where = (picture.study, picture.series, picture.instance)
    assert client.retrieve_instance_rendered(*where).startswith(b"\xff\xd8")
    png = client.retrieve_instance_rendered(*where, media_types=("image/png",), params={"viewport": "24,24"})
    assert png.startswith(b"\x89PNG")
    window = {"window": "100,200,linear", "quality": "50"}
    assert client.retrieve_instance_frames_rendered(*where, [2], media_types=("image/jpeg",), params=window)
    assert client.retrieve_instance_frames_rendered(*where, [2], media_types=("image/png",)).startswith(b"\x89PNG")


def test_it_deletes(server: WebServer, client: DICOMwebClient, tmp_path: Path) -> None:
    pictures = [make_picture(tmp_path, study=8, series=series, number=number) for series in (1, 2) for number in (1, 2)]
    client.store_instances([dcmread(picture.path) for picture in pictures])
    first = pictures[0]
    client.delete_instance(first.study, first.series, first.instance)
    assert len(client.search_for_instances(first.study)) == 3
    client.delete_series(first.study, pictures[2].series)
    assert len(client.search_for_instances(first.study)) == 1
    client.delete_study(first.study)
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study(first.study)

"""Searches as parameters, and what answers mean. Paging: tests/cli/commands/test_qido.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.elements import Element, text
from dcmkit.errors import InvalidDataSetError, ProtocolError, UsageError
from dcmkit.services.models import IMAGE, SERIES, STUDY
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.qido_client import QidoClient, Query, data_set_of, rows_of
from dcmkit.web.repeating import Asker
from dcmkit.web.wado_targets import Target
from tests.web.dicomweb_peer import JSON, ROOT, Service, some
from tests.web.http_peer import Reply, Request, peer

STUDY_UID, SERIES_UID = 0x0020000D, 0x0020000E


def test_uids_of_the_path_are_no_parameters() -> None:
    keys = {STUDY_UID: Element("UI", "1.2"), SERIES_UID: Element("UI", "1.3"), 0x00080060: Element("CS", "CT")}
    assert Query(IMAGE, keys).path() == "/studies/1.2/series/1.3/instances"
    assert Query(IMAGE, keys).parameters() == ["00080060=CT"]
    assert Query(SERIES, keys).path() == "/studies/1.2/series"
    assert Query(SERIES, keys).parameters() == ["0020000E=1.3", "00080060=CT"]
    assert Query(STUDY, keys).path() == "/studies"
    assert Query(SERIES, keys, Target("1.9")).path() == "/studies/1.9/series"


def test_what_is_to_be_answered() -> None:
    keys = {0x00104000: Element("LT", ""), 0x00080020: Element("DA", ""), 0x00400275: Element("SQ", [])}
    assert Query(STUDY, keys).parameters() == ["includefield=00104000,00400275"]
    assert Query(STUDY, keys, include=("all",), fuzzy=True).parameters() == ["includefield=all", "fuzzymatching=true"]


def test_bytes_cannot_be_matched() -> None:
    with pytest.raises(UsageError):
        Query(STUDY, {0x7FE00010: Element("OW", b"12")}).parameters()


@pytest.mark.parametrize("body", [b"<html>", b"[" * 99999, b"3", b'"x"', b"\xff\xfe"])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        rows_of(body, "text/html")


def test_one_object_is_a_list_of_one() -> None:
    assert rows_of(b"{}", "") == [{}]


def test_attributes_that_are_none_are_left_out() -> None:
    good = {"vr": "UI", "Value": ["1.2"]}
    found = data_set_of(
        {"0020000D": good, "x": 1, "00080020": {"vr": "DA", "Value": 3}, "7FE00010": {"vr": "OW", "BulkDataURI": "x"}}
    )
    assert text(found, STUDY_UID) == "1.2"
    for row in ([], 3, None, {"x": 3}):
        with pytest.raises(InvalidDataSetError):
            data_set_of(row)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["SQ", "PN", "OB"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vr", "Value", "BulkDataURI", "00080018", "0020000D", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(ANY_JSON)
def test_anything_gives_an_answer_or_the_documented_error(row: object) -> None:
    try:
        assert data_set_of(row) is not None
    except InvalidDataSetError:
        pass


def test_pages_and_limits() -> None:
    def small(request: Request) -> Reply:
        return Service(some(120))(request._replace(path=request.path.replace("limit=1000", "limit=50")))

    with peer(small) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        finder = QidoClient(Asker(client), ROOT)
        assert len(list(finder.answers(Query(IMAGE, {})))) == 120
        assert len(list(finder.answers(Query(IMAGE, {}), 7))) == 7
        assert "limit=7" in server.requests[-1].path


def test_a_server_without_offset() -> None:
    rows = [{"0020000D": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(1500)]

    def answer(request: Request) -> Reply:
        return Reply(200, json.dumps(rows[:1000] if "limit" in request.path else rows).encode(), JSON)

    with peer(answer) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        assert len(list(QidoClient(Asker(client), "").answers(Query(STUDY, {})))) == 1500
        assert len(server.requests) == 3

"""What a store request is answered with."""

from __future__ import annotations

import pytest

from dcmkit.web.exchange import Request
from dcmkit.web.identity import ForbiddenError
from dcmkit.web.negotiation import DICOM_JSON, Choice
from dcmkit.web.store_answer import Stored, data_set_of, reply_to, status_of
from dcmkit.web.stow_answer import Failure, parse_answer

WELL = Stored("1.2.840.10008.5.1.4.1.1.2", "1.1", "1.2", "1.3")
CHOICES = [Choice(DICOM_JSON, "", False), Choice("application/dicom+xml", "", False)]


def one(status: int, uid: str = "1.1", comment: str = "why") -> Stored:
    return Stored("1.2", uid, status=status, comment=comment) if uid else Stored("", "", status=status, comment=comment)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([WELL], 200),
        ([WELL, WELL], 200),
        ([WELL, one(0xB007)], 202),
        ([one(0xB000)], 202),
        ([WELL, one(0xA700)], 202),
        ([WELL, one(0xC000, "")], 202),
        ([one(0xA700)], 409),
        ([one(0xA700), one(0xC000, "")], 409),
        ([one(0xC000, ""), one(0xC000, "")], 400),
    ],
)
def test_statuses(outcomes: list[Stored], status: int):
    assert status_of(outcomes) == status
    assert reply_to(Request(), CHOICES[0], outcomes).status == status


@pytest.mark.parametrize("choice", CHOICES)
def test_our_own_client_reads_it(choice: Choice):
    outcomes = [WELL, one(0xB006, "1.5"), one(0xA900, "1.6"), one(0xC000, "", "<no> & \\ object\x00")]
    reply = reply_to(Request(base_url="https://h/d"), choice, outcomes)
    assert reply.content_type == choice.media_type
    assert isinstance(reply.body, bytes)
    found = parse_answer(reply.body)
    assert found.stored == {"1.1": 0, "1.5": 0xB006}
    assert found.failed == {"1.6": Failure(0xA900, "why")}
    assert [failure.reason for failure in found.other] == [0xC000]
    assert found.retrieve_url == ""


def test_urls():
    request = Request(base_url="https://h/d")
    found = data_set_of(request, [WELL, WELL._replace(sop_instance_uid="1.4")])
    assert found[0x00081190].value == "https://h/d/studies/1.2"
    items = found[0x00081199].value
    assert isinstance(items, list)
    assert isinstance(items[1], dict)
    assert items[1][0x00081190].value == "https://h/d/studies/1.2/series/1.3/instances/1.4"
    assert 0x00081190 not in data_set_of(request, [WELL, WELL._replace(study="1.9")])
    assert 0x00081190 not in data_set_of(request, [one(0xA700)])


def test_without_urls_where_they_are_not_to_be_told():
    items = data_set_of(Request(), [WELL._replace(study="", series="")])[0x00081199].value
    assert isinstance(items, list)
    assert 0x00081190 not in items[0]


def test_who_may_store_none_of_it():
    with pytest.raises(ForbiddenError):
        reply_to(Request(), CHOICES[0], [one(0x0124), one(0x0124, "1.2")])
    assert reply_to(Request(), CHOICES[0], [one(0x0124), one(0xA700)]).status == 409

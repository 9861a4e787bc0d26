"""Refusing an association, and saying why (PS3.8 9.3.4, 9.3.8)."""

from __future__ import annotations

import pytest

from dcmkit.protocol import rejection
from dcmkit.protocol.pdu import Abort, AssociateRJ, AssociateRQ
from dcmkit.protocol.rejection import abort_reason, refuse, reject_reason
from dcmkit.protocol.user_information import UserInformation


def request(called: str = "SCP", calling: str = "SCU", **fields: object) -> AssociateRQ:
    return AssociateRQ(called, calling, (), UserInformation(), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [1, 3, 0xFFFF])
def test_a_sound_request_is_let_through(version: int) -> None:
    assert refuse(request(protocol_version=version)) is None
    assert refuse(request(), called_ae_titles={"SCP"}, calling_ae_titles=("SCU", "OTHER")) is None


@pytest.mark.parametrize("version", [0, 2, 0xFFFE])
def test_protocol_version(version: int) -> None:
    assert refuse(request(protocol_version=version)) == AssociateRJ(1, 2, 2)


@pytest.mark.parametrize("name", ["", "1.2.840.10008.3.1.1", "1.2.840.10008.3.1.1.1.1"])
def test_application_context_name(name: str) -> None:
    assert refuse(request(application_context_name=name)) == AssociateRJ(1, 1, 2)


@pytest.mark.parametrize("title", ["", "A\nB", "\x1b[2J", "A\x7fB", "A\0B"])
def test_blank_titles_and_control_characters(title: str) -> None:
    assert refuse(request(called=title)) == AssociateRJ(1, 1, 7)
    assert refuse(request(calling=title)) == AssociateRJ(1, 1, 3)
    assert refuse(request(called=title), called_ae_titles={title}) == AssociateRJ(1, 1, 7)


def test_titles_that_are_checked() -> None:
    assert refuse(request(), called_ae_titles={"OTHER"}) == AssociateRJ(1, 1, 7)
    assert refuse(request(), calling_ae_titles={"OTHER"}) == AssociateRJ(1, 1, 3)
    assert refuse(request(), calling_ae_titles=()) == AssociateRJ(1, 1, 3)
    assert refuse(request(called="../../etc", calling="東".encode().decode("latin-1"))) is None


def test_the_sentence_of_the_style_guide() -> None:
    message, hint = reject_reason(AssociateRJ(1, 1, 7))
    assert message == "peer refused the association: called AE title not recognised"
    assert hint == "it knows itself by another name; try -aec"


def test_every_field_has_words() -> None:
    for result in range(4):
        for source in range(5):
            for reason in range(12):
                message, _ = reject_reason(AssociateRJ(result, source, reason))
                assert message.startswith("peer refused the association: ")
                assert not message.endswith(": ")
    assert "source 3, reason 7, which PS3.8 does not define" in reject_reason(AssociateRJ(1, 3, 7)).message


def test_a_transient_rejection_says_so() -> None:
    assert reject_reason(rejection.LOCAL_LIMIT_EXCEEDED).hint.endswith("try again later")
    assert "transient" in reject_reason(AssociateRJ(2, 1, 1)).hint
    assert reject_reason(AssociateRJ(2, 3, 9)).hint.startswith("the peer calls this transient")


@pytest.mark.parametrize(
    ("abort", "text"),
    [
        (Abort(0, 0), "peer aborted the association"),
        (Abort(0, 6), "peer aborted the association"),
        (Abort(2, 0), "peer aborted the association: reason not specified"),
        (Abort(2, 2), "peer aborted the association: unexpected PDU"),
        (Abort(2, 6), "peer aborted the association: invalid PDU parameter value"),
        (Abort(2, 3), "peer aborted the association: undefined reason 3"),
        (Abort(1, 77), "peer aborted the association: undefined reason 77"),
    ],
)
def test_aborts_in_words(abort: Abort, text: str) -> None:
    assert abort_reason(abort).message == text

"""C-FIND as SCU: answers in any order, shape and character set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from dcmkit.dataset.elements import DataSet, Element, text
from dcmkit.errors import (
    AssociationAbortedError,
    NoPresentationContextError,
    ProtocolError,
    StatusError,
    UsageError,
)
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_ECHO_RSP
from dcmkit.services import find_scu
from dcmkit.services.find_scu import (
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    Finding,
    find,
    find_contexts,
    hint,
    is_suspicious,
)
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.net.server import associate
from tests.services.answering import CHARSET, NAME, PATIENT_ID, STUDY_UID, Answering, answering, pending, study

KEYS: DataSet = {NAME: Element("PN", ""), STUDY_UID: Element("UI", "")}


@contextmanager
def association_with(
    service: Answering, syntaxes: tuple[str, ...] = find_scu.TRANSFER_SYNTAXES
) -> Iterator[Association]:
    with answering(service) as listener:
        association = associate(listener.port, *find_contexts([STUDY_ROOT_FIND], syntaxes))
        try:
            yield association
        finally:
            association.close()


def asked(service: Answering, identifier: DataSet = KEYS, **how: object) -> tuple[Finding, list[DataSet]]:
    """One question, all its answers, and an orderly end."""
    with association_with(service) as association:
        finding = find(association, STUDY_ROOT_FIND, identifier, **how)
        answers = list(finding)
        association.release()
    return finding, answers


def test_answers_come_one_by_one_and_then_the_status():
    finding, answers = asked(Answering([study(1), study(2)]))
    assert answers == [study(1), study(2)]
    assert (finding.status, finding.count, finding.faulty, finding.cancelled) == (0, 2, 0, False)
    finding.require_success()


def test_an_answer_is_given_out_before_the_next_is_there():
    taken = []
    pauses = []
    with association_with(Answering(study(number) for number in range(3))) as association:
        for answer in find(association, STUDY_ROOT_FIND, KEYS, on_pause=lambda: pauses.append(len(taken))):
            taken.append(answer)
        association.release()
    assert len(taken) == 3


@pytest.mark.parametrize(
    "syntax",
    [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN],
)
def test_every_transfer_syntax_of_identifiers(syntax):
    service = Answering([study(1)], syntaxes=(syntax,))
    with association_with(service, (*find_scu.TRANSFER_SYNTAXES, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)) as association:
        assert list(find(association, STUDY_ROOT_FIND, KEYS)) == [study(1)]
        association.release()
    assert service.requests[0][1] == syntax
    assert service.identifier() == {CHARSET: Element("CS", "ISO_IR 192"), **KEYS}


@pytest.mark.parametrize(
    ("charset", "raw"),
    [("ISO_IR 192", "Hüfte".encode()), ("ISO_IR 100", b"H\xfcfte "), ("GB18030", "Hüfte".encode("gb18030"))],
)
def test_keys_are_encoded_in_the_character_set_the_request_names(charset, raw):
    service = Answering()
    asked(service, {NAME: Element("PN", "Hüfte")}, charset=charset)
    assert raw in service.requests[0][2]
    assert text(service.identifier(), CHARSET) == charset
    assert text(service.identifier(), NAME) == "Hüfte"


def test_keys_that_the_character_set_cannot_hold():
    with association_with(Answering()) as association:
        with pytest.raises(UsageError, match=r"'山'.*ISO_IR 100.*--charset"):
            find(association, STUDY_ROOT_FIND, {NAME: Element("PN", "山")}, charset="ISO_IR 100")
        with pytest.raises(UsageError, match="'x' is not a value of US"):
            find(association, STUDY_ROOT_FIND, {0x00280010: Element("US", "x")})
        assert list(find(association, STUDY_ROOT_FIND, KEYS)) == []
        association.release()


def test_a_model_that_was_not_accepted():
    with association_with(Answering(sop_classes=[STUDY_ROOT_FIND])) as association:
        with pytest.raises(NoPresentationContextError, match="try -S"):
            find(association, PATIENT_ROOT_FIND, KEYS)
        association.release()


# --- character sets of answers ---


def encoded(name: bytes, charset: bytes | None) -> bytes:
    """An answer in explicit VR little endian."""

    def one(tag: bytes, vr: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return tag + vr + len(value).to_bytes(2, "little") + value

    declared = b"" if charset is None else one(b"\x08\0\x05\0", b"CS", charset)
    return declared + one(b"\x10\0\x10\0", b"PN", name)


JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"


@pytest.mark.parametrize(
    ("raw", "declared", "assume", "name"),
    [
        (JAPANESE, b"\\ISO 2022 IR 87", "", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (KOREAN, b"\\ISO 2022 IR 149", "", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("Wang^XiaoDong=王^小东".encode("gb18030"), b"GB18030", "", "Wang^XiaoDong=王^小东"),
        ("Wang^XiaoDong=王^小東".encode(), b"ISO_IR 192", "", "Wang^XiaoDong=王^小東"),
        ("Люкceмбypг".encode("iso8859-5"), b"ISO_IR 144", "", "Люкceмбypг"),
        ("قباني^لنزار".encode("iso8859-6"), b"ISO_IR 127", "", "قباني^لنزار"),
        ("שרון^דבורה".encode("iso8859-8"), b"ISO_IR 138", "", "שרון^דבורה"),
        ("Διονυσιος".encode("iso8859-7"), b"ISO_IR 126", "", "Διονυσιος"),
        (b"H\xfcfte", b"ISO_IR 100", "", "Hüfte"),
        # missing
        (b"H\xfcfte", None, "", "Hüfte"),
        ("Hüfte".encode(), None, "", "Hüfte"),
        ("Люкceмбypг".encode("iso8859-5"), None, "ISO_IR 144", "Люкceмбypг"),
        ("王^小东".encode("gb18030"), b"", "GB18030", "王^小东"),
        # wrong
        (b"H\xfcfte", b"ISO_IR 192", "", "Hüfte"),
        ("王^小东".encode("gb18030"), b"ISO_IR 192", "GB18030", "王^小东"),
        (b"H\xfcfte", b"ISO_IR 999", "", "Hüfte"),
        ("Hüfte".encode(), b"ISO_IR 6", "", "Hüfte"),
    ],
)
def test_names_are_unicode_whatever_the_peer_says(raw, declared, assume, name):
    service = Answering([encoded(raw, declared)])
    finding, answers = asked(service, assume_charset=assume)
    assert [text(answer, NAME) for answer in answers] == [name]
    assert finding.faulty == 0


def test_a_declaration_that_is_wrong_without_showing_it_is_overridden():
    raw = encoded("Hüfte".encode(), b"ISO_IR 100")
    assert text(asked(Answering([raw]))[1][0], NAME) == "HÃ¼fte"
    _, (answer,) = asked(Answering([raw]), assume_charset="ISO_IR 192", override_charset=True)
    assert text(answer, NAME) == "Hüfte"


def test_only_the_value_that_is_wrong_is_read_otherwise():
    raw = encoded("H\xfcfte".encode("latin-1"), b"ISO_IR 192")
    description = "Schädel".encode()
    raw = raw[:18] + b"\x08\0\x30\x10LO\x08\0" + description + raw[18:]
    _, (answer,) = asked(Answering([raw]))
    assert (text(answer, NAME), text(answer, 0x00081030)) == ("Hüfte", "Schädel")


def test_bytes_that_no_character_set_explains_are_kept_readable():
    _, (answer,) = asked(Answering([encoded(b"A\x1b$)Z\xffB", b"ISO 2022 IR 6")]), assume_charset="ISO_IR 192")
    assert text(answer, NAME).startswith("A")


# --- ends ---


def test_as_many_as_are_wanted_then_cancelled():
    service = Answering(study(number) for number in count())
    finding, answers = asked(service, limit=5)
    assert len(answers) == finding.count == 5
    assert (finding.status, finding.cancelled, service.cancelled) == (0xFE00, True, 1)
    finding.require_success()


def test_exactly_as_many_as_there_are_is_no_cancellation():
    service = Answering([study(1), study(2)])
    service.honours_cancel = False
    finding, answers = asked(service, limit=2)
    assert (len(answers), finding.status, finding.cancelled) == (2, 0, False)


def test_after_a_cancel_answers_may_still_come():
    service = Answering(study(number) for number in range(10))
    service.honours_cancel = False
    finding, answers = asked(service, cancel_after=3)
    assert (len(answers), finding.status, finding.cancelled) == (10, 0, False)
    finding, answers = asked(service, limit=3)
    assert (len(answers), finding.status) == (0, 0)  # its answers are used up


def test_answers_beyond_the_limit_are_dropped():
    service = Answering([study(number) for number in range(10)])
    service.honours_cancel = False
    finding, answers = asked(service, limit=3)
    assert (len(answers), finding.status, finding.cancelled) == (3, 0, True)


def test_a_peer_that_does_not_stop_is_stopped(monkeypatch):
    monkeypatch.setattr(find_scu, "CANCEL_PATIENCE", 0.05)
    service = Answering(study(number) for number in count())
    service.honours_cancel = False
    with association_with(service) as association:
        finding = find(association, STUDY_ROOT_FIND, KEYS, limit=3)
        answers = iter(finding)
        assert len([next(answers) for _ in range(3)]) == 3
        with pytest.raises(AssociationAbortedError, match="went on answering"):
            next(answers)
    assert finding.cancelled


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA700, "out of resources"),
        (0xA900, "does not match the SOP class"),
        (0xC001, "unable to process"),
        (0x0122, "SOP class not supported"),
        (0xFE00, "cancelled"),
        (0x0124, "not authorized"),
        (0x1234, "failure"),
    ],
)
def test_a_failure_is_told_with_what_to_do(status, words):
    finding, answers = asked(Answering([study(1), status], comment="no such thing"))
    assert len(answers) == 1
    with pytest.raises(StatusError, match=words) as caught:
        finding.require_success()
    assert (caught.value.status, finding.status) == (status, status)
    assert "no such thing" in caught.value.message
    assert caught.value.hint == hint(status)


def test_a_cap_of_the_peer_shows():
    finding, _ = asked(Answering([study(1), 0xB001]))
    finding.require_success()
    assert finding.capped
    assert asked(Answering([0xA700]))[0].capped
    assert not asked(Answering([study(1)]))[0].capped


def test_the_element_to_blame_is_named():
    class Blaming(Answering):
        def _final(self, association, context_id, message_id, status):
            from dcmkit.protocol.message import C_FIND_RSP

            rsp = C_FIND_RSP(
                message_id_being_responded_to=message_id, status=0xA900, offending_element=(PATIENT_ID, 0x00091001)
            )
            association.send(context_id, rsp)

    finding, _ = asked(Blaming())
    assert "PatientID, (0009,1001)" in finding.describe()


def test_several_questions_on_one_association():
    service = Answering(lambda keys: [study(int(text(keys, PATIENT_ID)))])
    with association_with(service) as association:
        for number in (1, 2, 3):
            (answer,) = find(association, STUDY_ROOT_FIND, {PATIENT_ID: Element("LO", str(number))})
            assert text(answer, STUDY_UID) == f"1.2.3.{number}"
        association.release()
    assert [rq.message_id for rq, _, _ in service.requests] == [1, 2, 3]


# --- hostile answers ---


@pytest.mark.parametrize("garbage", [b"\x08\0\x05\0CS\x20\0AB", b"\x10\0\x10\0PN\xff\x7fA ", b"\xff" * 64])
def test_an_answer_that_is_garbage_is_left_out_and_counted(garbage):
    finding, answers = asked(Answering([study(1), garbage, study(2)]))
    assert answers == [study(1), study(2)]
    assert (finding.faulty, finding.count, finding.status) == (1, 2, 0)


def test_an_answer_that_is_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(find_scu, "ANSWER_LIMIT", 1000)
    finding, answers = asked(Answering([study(1, name="x" * 2000), study(2)]))
    assert (answers, finding.faulty) == ([study(2)], 1)


def test_an_answer_without_a_data_set_is_left_out_and_counted():
    without = pending(1)
    without.__dict__["command_data_set_type"] = 0x0101
    finding, answers = asked(Answering([without, study(1)]))
    assert (answers, finding.faulty) == ([study(1)], 1)


def test_answers_with_unsupported_keys_are_answers():
    class Partial(Answering):
        def _find(self, association, context_id, message):
            association.skip_data_set()
            association.send(context_id, pending(message.message_id, 0xFF01), encoded(b"Doe", None))
            self._final(association, context_id, message.message_id, 0)

    finding, answers = asked(Partial())
    assert len(answers) == 1
    assert finding.keys_unsupported


@pytest.mark.parametrize("step", [pending(99), C_ECHO_RSP(message_id_being_responded_to=1, status=0)])
def test_an_answer_to_something_else_ends_the_association(step):
    with association_with(Answering([study(1), step])) as association:
        answers = iter(find(association, STUDY_ROOT_FIND, KEYS))
        assert next(answers) == study(1)
        with pytest.raises(ProtocolError, match="answered the C-FIND with"):
            next(answers)


def test_an_answer_after_the_last_is_no_answer_to_the_next_question():
    class Talkative(Answering):
        def _final(self, association, context_id, message_id, status):
            super()._final(association, context_id, message_id, status)
            association.send(context_id, pending(message_id), encoded(b"late", None))

    with association_with(Talkative()) as association:
        assert list(find(association, STUDY_ROOT_FIND, KEYS)) == []
        with pytest.raises(ProtocolError):
            list(find(association, STUDY_ROOT_FIND, KEYS))


def test_an_answer_after_the_last_does_not_hinder_the_release():
    class Talkative(Answering):
        def _final(self, association, context_id, message_id, status):
            super()._final(association, context_id, message_id, status)
            association.send(context_id, pending(message_id), encoded(b"late", None))

    assert asked(Talkative())[1] == []


def test_an_association_that_ends_in_the_middle():
    with association_with(Answering([study(1), None])) as association:
        answers = iter(find(association, STUDY_ROOT_FIND, KEYS))
        assert next(answers) == study(1)
        with pytest.raises(AssociationAbortedError):
            next(answers)


@pytest.mark.parametrize("number", [100, 200, 250, 500, 1000, 2000, 2500, 5000, 10000, 20000, 50000, 100000])
def test_round_numbers_are_suspicious(number):
    assert is_suspicious(number)
    assert not is_suspicious(number + 1)
    assert not is_suspicious(number - 1)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 10, 20, 50, 25, 300, 1300])
def test_other_numbers_are_not(number):
    assert not is_suspicious(number)

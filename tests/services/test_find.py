"""C-FIND over loopback: answers, statuses, cancelling, and requests that are none."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, decode, encode
from dcmkit.errors import NetworkError
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_CANCEL_RQ, C_FIND_RQ, C_FIND_RSP
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.protocol.user_information import SOPClassExtended
from dcmkit.services.association_request import association_request
from dcmkit.services.find import FindSCP, _Allowance
from dcmkit.services.models import PATIENT_ROOT, STUDY_ROOT
from dcmkit.settings import RequestorSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import archive_in, put
from tests.dataset.encoding import Items
from tests.net.server import assert_alive, associate, listening
from tests.services.test_identifier import identifier

EXPLICIT = EXPLICIT_VR_LITTLE_ENDIAN
CONTEXTS = (
    PresentationContextRQ(1, STUDY_ROOT.find, (EXPLICIT,)),
    PresentationContextRQ(3, PATIENT_ROOT.find, (EXPLICIT,)),
)


@pytest.fixture
def archive(tmp_path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.1.1.1", study="1.1", series="1.1.1", name="Doe^Jane", patient="1", date="20240101")
        put(archive, "1.1.2.1", study="1.1", series="1.1.2", name="Doe^Jane", patient="1", modality="MR")
        put(archive, "1.2.1.1", study="1.2", series="1.2.1", name="Müller^Jörg", patient="2", date="20240301")
        archive.flush()
        yield archive


@pytest.fixture
def many(tmp_path):
    with archive_in(tmp_path) as archive:
        for number in range(300):
            put(archive, f"9.{number}.1", study=f"9.{number}", series=f"9.{number}.0", patient=f"P{number}")
        archive.flush()
        yield archive


def send(association: Association, found: DataSet | bytes, *, context_id=1, sop_class=STUDY_ROOT.find) -> int:
    message_id = association.next_message_id()
    data = found if isinstance(found, bytes) else encode(found, EXPLICIT)
    association.send(context_id, C_FIND_RQ(message_id=message_id, affected_sop_class_uid=sop_class), data)
    return message_id


def answers(association: Association) -> tuple[list[DataSet], C_FIND_RSP, set[int]]:
    """All answers, the final response, and the pending statuses."""
    found, pending = [], set()
    while True:
        received = association.receive()
        assert received is not None
        response = received.message
        assert isinstance(response, C_FIND_RSP)
        if not response.has_data_set:
            return found, response, pending
        pending.add(response.status)
        found.append(decode(association.read_data_set(), EXPLICIT))


def ask(port: int, found: DataSet | bytes, **how):
    association = associate(port, *CONTEXTS)
    send(association, found, **how)
    result = answers(association)
    association.release()
    return result


def values(found: list[DataSet], tag: int) -> list[object]:
    return [each[tag].value for each in found]


def test_studies_with_exactly_the_keys_asked_for(archive):
    with listening([FindSCP(archive)]) as listener:
        found, final, pending = ask(
            listener.port,
            identifier(PatientName="DOE*", StudyDate="", ModalitiesInStudy="", NumberOfStudyRelatedInstances=""),
        )
    assert final.status == 0
    assert pending == {0xFF00}
    (study,) = found
    assert {tag: element.value for tag, element in study.items()} == {
        0x00080020: "20240101",
        0x00080052: "STUDY",
        0x00080054: "SCP",
        0x00080061: "CT\\MR",
        0x00100010: "Doe^Jane",
        0x0020000D: "1.1",
        0x00201208: "2",
    }


@pytest.mark.parametrize(
    ("level", "model", "keys", "tag", "expected"),
    [
        ("PATIENT", PATIENT_ROOT, {"PatientID": ""}, 0x00100020, ["1", "2"]),
        ("SERIES", STUDY_ROOT, {"StudyInstanceUID": "1.1"}, 0x0020000E, ["1.1.1", "1.1.2"]),
        ("SERIES", STUDY_ROOT, {"Modality": "MR"}, 0x0020000E, ["1.1.2"]),
        ("IMAGE", STUDY_ROOT, {"SOPInstanceUID": "1.1.1.1\\1.2.1.1"}, 0x00080018, ["1.1.1.1", "1.2.1.1"]),
        ("STUDY", STUDY_ROOT, {"StudyInstanceUID": "9.9"}, 0x0020000D, []),
    ],
)
def test_levels(archive, level, model, keys, tag, expected):
    context_id = 3 if model is PATIENT_ROOT else 1
    with listening([FindSCP(archive)]) as listener:
        found, final, _ = ask(listener.port, identifier(level, **keys), context_id=context_id, sop_class=model.find)
    assert final.status == 0
    assert sorted(values(found, tag)) == expected


def test_what_has_no_uid_is_no_answer(archive):
    put(archive, "1.9", study="", series="", patient="")
    with listening([FindSCP(archive)]) as listener:
        for level, model in (("STUDY", STUDY_ROOT), ("SERIES", STUDY_ROOT), ("PATIENT", PATIENT_ROOT)):
            context_id = 3 if model is PATIENT_ROOT else 1
            found = ask(listener.port, identifier(level), context_id=context_id, sop_class=model.find)[0]
            assert len(found) == {"STUDY": 2, "SERIES": 3, "PATIENT": 3}[level]


def test_a_key_nobody_knows_is_answered_empty_with_a_warning(archive):
    with listening([FindSCP(archive)]) as listener:
        found, final, pending = ask(listener.port, identifier(RequestedProcedureDescription="", PatientID="1"))
    assert values(found, 0x00321060) == [""]
    assert pending == {0xFF01}
    assert final.status == 0


@pytest.mark.parametrize(("charset", "told"), [("ISO_IR 100", "ISO_IR 100"), ("ISO_IR 144", "ISO_IR 192")])
def test_the_character_set_asked_for_or_utf_8(archive, charset, told):
    with listening([FindSCP(archive)]) as listener:
        found, _, _ = ask(listener.port, identifier(PatientID="2", PatientName="", SpecificCharacterSet=charset))
        keyed, _, _ = ask(listener.port, identifier(PatientName="MÜLLER*", SpecificCharacterSet="ISO_IR 100"))
    assert values(found, 0x00080005) == [told]
    assert values(found, 0x00100010) == values(keyed, 0x00100010) == ["Müller^Jörg"]


def test_the_character_set_the_server_is_told_to_answer_in(archive):
    asked = identifier(PatientID="2", PatientName="", SpecificCharacterSet="ISO_IR 192")
    with listening([FindSCP(archive, charset="ISO_IR 100", override_charset=True)]) as listener:
        found, _, _ = ask(listener.port, asked)
    assert values(found, 0x00080005) == ["ISO_IR 100"]


def test_more_matches_than_are_told(many):
    with listening([FindSCP(many, limit=5)]) as listener:
        found, final, _ = ask(listener.port, identifier())
        few, whole, _ = ask(listener.port, identifier(PatientID="P1?"))
        exact, done, _ = ask(listener.port, identifier(StudyInstanceUID="\\".join(f"9.{n}" for n in range(5))))
    assert (len(found), final.status) == (5, 0xB001)
    assert (len(few), whole.status) == (5, 0xB001)
    assert (len(exact), done.status) == (5, 0)


def test_extended_negotiation_is_answered_and_obeyed(archive):
    settings = RequestorSettings(calling_ae_title="SCU", called_ae_title="SCP")
    with listening([FindSCP(archive, strict=True)]) as listener:
        for asked, agreed in ((b"\1\1\1", b"\1\1\1"), (b"\0\0\1\1\1", b"\0\0\1\1\0"), (b"\0", b"\0")):
            rq = association_request(settings, CONTEXTS, extended=(SOPClassExtended(STUDY_ROOT.find, asked),))
            association = Association.request("127.0.0.1", listener.port, rq, settings)
            (answer,) = association.ac.user_information.extended
            assert answer.information == agreed
            send(association, identifier("SERIES", PatientName="jane" if asked[2:3] == b"\1" else ""))
            found, final, _ = answers(association)
            assert final.status == (0 if asked[0] else 0xA900)
            assert len(found) == (2 if asked[0] else 0)
            association.release()


def ask_having_negotiated(port: int, found: DataSet, information: bytes = b"\1\0\0\1"):
    settings = RequestorSettings(calling_ae_title="SCU", called_ae_title="SCP")
    rq = association_request(settings, CONTEXTS, extended=(SOPClassExtended(STUDY_ROOT.find, information),))
    association = Association.request("127.0.0.1", port, rq, settings)
    send(association, found)
    result = answers(association)
    association.release()
    return result


@pytest.mark.parametrize(("asked", "wanted"), [(b"\0\0\1", ["1.2"]), (b"\0\0\0", [])])
def test_names_that_sound_alike_are_found_where_that_was_negotiated(archive, asked, wanted):
    with listening([FindSCP(archive)]) as listener:
        name = identifier(PatientName="Joerg Mueler", StudyInstanceUID="")
        found, final, _ = ask_having_negotiated(listener.port, name, asked)
    assert (values(found, 0x0020000D), final.status) == (wanted, 0)


def test_times_in_the_zone_of_the_request(archive):
    night = [(0x00080030, "TM", b"0030"), (0x00080201, "SH", b"+0100")]
    put(archive, "1.7.1", study="1.7", series="1.7.0", date="20240401", more=night)
    put(archive, "1.8.1", study="1.8", series="1.8.0", date="20240401", more=night[:1])
    asked = identifier(StudyDate="20240331", TimezoneOffsetFromUTC="+0000")
    with listening([FindSCP(archive, timezone="-0500")]) as listener:
        found, final, _ = ask_having_negotiated(listener.port, asked)
        assert final.status == 0
        (study,) = found
        assert study[0x0020000D].value == "1.7"
        assert study[0x00080020].value == "20240331"
        assert study[0x00080201].value == "+0000"
        assert 0x00080030 not in study  # nobody asked
        asked = identifier(StudyDate="", StudyTime="0530", TimezoneOffsetFromUTC="+0000")
        (study,) = ask_having_negotiated(listener.port, asked)[0]
        assert [study[tag].value for tag in (0x0020000D, 0x00080020, 0x00080030)] == ["1.8", "20240401", "0530"]
        found, _, _ = ask_having_negotiated(listener.port, identifier(StudyDate="20240401", StudyTime=""))
        assert values(found, 0x00080030) == ["0030", "0030"]  # no zone, no adjustment
        not_agreed = identifier(StudyDate="20240401", TimezoneOffsetFromUTC="+0100")
        found, _, _ = ask_having_negotiated(listener.port, not_agreed, b"\1")
        assert values(found, 0x0020000D) == ["1.7"]  # a key like any other


def test_a_zone_that_is_none(archive):
    with listening([FindSCP(archive)]) as listener:
        _, final, _ = ask_having_negotiated(listener.port, identifier(StudyDate="", TimezoneOffsetFromUTC="Berlin"))
    assert (final.status, final.offending_element) == (0xA900, (0x00080201,))


@pytest.mark.parametrize(
    ("found", "status", "offending"),
    [
        (identifier(None, PatientID="1"), 0xA900, (0x00080052,)),
        (identifier("PATIENT"), 0xA900, (0x00080052,)),
        (b"\x08\x00\x52\x00CS\x64\x00STUDY ", 0xC000, (0x00080052,)),
        (b"\xff" * 4000, 0xC000, None),
        (b"\x08\x00\x11\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000, 0xC000, None),
    ],
)
def test_identifiers_that_are_none(archive, found, status, offending):
    with listening([FindSCP(archive)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        send(association, found)
        got, final, _ = answers(association)
        assert (got, final.status) == ([], status)
        assert offending is None or final.offending_element == offending
        assert final.error_comment
        send(association, identifier())
        assert len(answers(association)[0]) == 2
        association.release()


def test_a_request_of_another_sop_class_or_without_identifier(archive):
    with listening([FindSCP(archive)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        send(association, identifier(), sop_class=PATIENT_ROOT.find)
        assert answers(association)[1].status == 0x0122
        rq = C_FIND_RQ(message_id=7, affected_sop_class_uid=STUDY_ROOT.find, command_data_set_type=0x0101)
        association.send(1, rq)
        assert answers(association)[1].status == 0xA900
        association.release()


def test_an_identifier_that_is_too_large(archive):
    with listening([FindSCP(archive)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        send(association, b"\0" * (16 * 1024 * 1024 + 2))
        assert answers(association)[1].status == 0xC000
        send(association, identifier())
        assert len(answers(association)[0]) == 2
        association.release()


def test_models_not_offered_are_not_negotiated(archive):
    with listening([FindSCP(archive, models=(STUDY_ROOT,))]) as listener:
        association = associate(listener.port, *CONTEXTS)
        assert list(association.contexts.contexts) == [1]
        association.release()


def test_keys_of_a_sequence_match_in_one_item(archive):
    def codes(*pairs):
        return [(0x00081032, "SQ", Items([[(0x00080100, "SH", a), (0x00080102, "SH", b)] for a, b in pairs]))]

    put(archive, "1.3.1", study="1.3", series="1.3.0", more=codes((b"A", b"DCM"), (b"B", b"SCT")))
    put(archive, "1.4.1", study="1.4", series="1.4.0", more=codes((b"A", b"SCT"), (b"B", b"DCM"), (b"A", b"SCT")))
    wanted = identifier(None, CodeValue="A", CodingSchemeDesignator="SCT")
    with listening([FindSCP(archive)]) as listener:
        found, final, _ = ask(listener.port, identifier(ProcedureCodeSequence=[wanted]))
    assert final.status == 0
    assert values(found, 0x0020000D) == ["1.4"]
    (items,) = values(found, 0x00081032)
    assert [[each.value for each in item.values()] for item in items] == [["A", "SCT"], ["A", "SCT"]]


@pytest.mark.parametrize("name", ["*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*x", "*" * 5000 + "x", "%_%_%_%", "?" * 64])
def test_wild_cards_that_explode_do_not(many, name):
    with listening([FindSCP(many)]) as listener:
        found, final, _ = ask(listener.port, identifier(PatientName=name, PatientComments=name))
    assert (found, final.status) == ([], 0)


def test_a_hundred_thousand_uids(many):
    uids = "\\".join(f"9.{number}" for number in range(100000))
    found = identifier(StudyInstanceUID=uids)
    with listening([FindSCP(many)]) as listener:
        association = associate(listener.port, PresentationContextRQ(1, STUDY_ROOT.find, ("1.2.840.10008.1.2",)))
        send(association, encode(found, "1.2.840.10008.1.2"))
        count = 0
        while (received := association.receive()) and received.message.has_data_set:
            association.skip_data_set()
            count += 1
        assert count == 300
        assert received.message.status == 0
        association.release()


def test_a_cancel_ends_the_answers(many, monkeypatch):
    monkeypatch.setattr("dcmkit.services.find._LOOK_EVERY", 0.0)
    with listening([FindSCP(many)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        message_id = association.next_message_id()
        rq = C_FIND_RQ(message_id=message_id, affected_sop_class_uid=STUDY_ROOT.find)
        association.send_pending(1, rq, encode(identifier(), EXPLICIT))
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=message_id))
        found, final, _ = answers(association)
        assert final.status == 0xFE00
        assert len(found) < 300
        send(association, identifier(PatientID="P1"))
        assert len(answers(association)[0]) == 1
        association.release()


def test_a_cancel_of_something_else_or_too_late_is_ignored(archive, monkeypatch):
    monkeypatch.setattr("dcmkit.services.find._LOOK_EVERY", 0.0)
    with listening([FindSCP(archive)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=99))
        message_id = send(association, identifier())
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=message_id + 1))
        assert answers(association)[1].status == 0
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=message_id))
        send(association, identifier())
        assert answers(association)[1].status == 0
        association.release()


def test_a_second_request_before_the_first_is_answered_ends_the_association(many, monkeypatch):
    monkeypatch.setattr("dcmkit.services.find._LOOK_EVERY", 0.0)
    with listening([FindSCP(many)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        rq = C_FIND_RQ(message_id=1, affected_sop_class_uid=STUDY_ROOT.find)
        association.send_pending(1, rq, encode(identifier(), EXPLICIT))
        association.send_pending(1, rq, encode(identifier(), EXPLICIT))
        with pytest.raises(NetworkError):
            list(iter(lambda: answers(association), None))
        assert_alive(listener.port)


def test_a_peer_that_goes_away_in_the_middle(many):
    with listening([FindSCP(many)]) as listener:
        association = associate(listener.port, *CONTEXTS)
        send(association, identifier())
        association.receive()
        association.abort()
        assert_alive(listener.port)


def test_no_patient_data_in_the_log(archive, caplog):
    caplog.set_level("INFO", "dcmkit")
    with listening([FindSCP(archive)]) as listener:
        ask(listener.port, identifier(PatientName="Doe^Jane", PatientID="1"))
        ask(listener.port, identifier("NONE", PatientName="Doe^Jane"))
    assert "answers" in caplog.text
    assert "Jane" not in caplog.text


def test_what_was_just_stored_is_found_but_not_at_any_price(tmp_path, monkeypatch):
    flushed = []
    with archive_in(tmp_path) as archive:
        monkeypatch.setattr(archive, "flush", lambda: flushed.append(archive.committer.flush()))
        with listening([FindSCP(archive)]) as listener:
            for number in range(3):
                put(archive, f"1.{number}", study=f"1.{number}")
                assert len(ask(listener.port, identifier())[0]) == number + 1
        assert len(flushed) <= 3
    allowance = _Allowance()
    assert sum(allowance() for _ in range(1000)) in range(20, 30)

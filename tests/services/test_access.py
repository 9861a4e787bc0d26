"""Rights, peers and move destinations."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dcmkit.errors import AssociationRejectedError, UsageError
from dcmkit.protocol.message import C_ECHO_RQ
from dcmkit.protocol.pdu import AssociateRJ, PresentationContextRQ
from dcmkit.services import access
from dcmkit.services.access import ALL, Guarded, MoveTargets, Peer, RestrictedEntity, Rights, Rule, Served, rights
from dcmkit.services.find import FindSCP
from dcmkit.services.models import STUDY_ROOT
from dcmkit.services.verification import VerificationSCP
from dcmkit.settings import AssociationSettings, ListenerSettings, RequestorSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import archive_in
from tests.net.server import associate, listening, rq
from tests.services.test_find import answers, send
from tests.services.test_identifier import identifier

READ, STORE = rights("R"), rights("W")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("R", Rights(True, True, False, False)),
        ("w", Rights(False, False, True, False)),
        ("RW", Rights(True, True, True, False)),
        ("query, delete", Rights(True, False, False, True)),
        (["retrieve"], Rights(False, True, False, False)),
    ],
)
def test_rights_in_letters_and_words(said, meant):
    assert rights(said) == meant
    assert ALL & meant == meant


@pytest.mark.parametrize("said", ["", "X", "query,", [], ["reading"], "RWD"])
def test_rights_that_are_none(said):
    with pytest.raises(UsageError):
        rights(said)


def test_the_first_rule_that_fits_counts():
    served = Served(
        "QR",
        "x",
        rights("RW"),
        (
            Rule((Peer("CT1", "127.0.0.1"), Peer("CT2", "192.0.2.1")), STORE),
            Rule((Peer("VIEWER"),), READ),
            Rule((Peer("ADMIN"),), ALL),
        ),
    )
    assert served.rights_of("CT1", "127.0.0.1") == STORE
    assert served.rights_of("CT2", "127.0.0.1") is None
    assert served.rights_of("VIEWER", "198.51.100.7") == READ
    assert served.rights_of("ADMIN", "") == rights("RW")
    assert served.rights_of("ct1", "127.0.0.1") is None
    assert Served("QR", "x").rights_of("ANYBODY", "") == ALL


def test_host_names_are_looked_up_and_remembered(monkeypatch):
    asked = []

    def getaddrinfo(host, *_, **__):
        asked.append(host)
        if host == "nowhere.example":
            raise OSError("unknown")
        return [(2, 1, 6, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(access.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(access, "_addresses", access._Names())
    for _ in range(3):
        assert Peer("A", "ct.example").is_it("A", "192.0.2.7")
        assert not Peer("A", "nowhere.example").is_it("A", "192.0.2.7")
    assert asked == ["ct.example", "nowhere.example"]


def test_strangers_are_rejected():
    served = Served("QR", "x", ALL, (Rule((Peer("CT1", "127.0.0.1"),), ALL),))
    ae = RestrictedEntity(served, [VerificationSCP()], AssociationSettings(), ListenerSettings())
    for title, address in (("CT1", "192.0.2.1"), ("CT2", "127.0.0.1")):
        request = rq(calling_ae_title=title)
        request.peer_address = address
        assert ae.decide(request) == AssociateRJ(1, 1, 3)
    request = rq(calling_ae_title="CT1")
    request.peer_address = "127.0.0.1"
    assert not isinstance(ae.decide(request), AssociateRJ)


def test_the_address_asked_from_is_the_real_one(monkeypatch):
    served = Served("SCP", "x", ALL, (Rule((Peer("SCU", "192.0.2.1"),), ALL),))

    class Elsewhere(RestrictedEntity):
        def __init__(self, services, association, settings):
            super().__init__(served, services, association, settings)

    monkeypatch.setattr("tests.net.server.ApplicationEntity", Elsewhere)
    with listening() as listener, pytest.raises(AssociationRejectedError, match="calling AE title"):
        associate(listener.port)


def test_a_guarded_service_tells_who_may_not(tmp_path):
    context = PresentationContextRQ(1, STUDY_ROOT.find, (EXPLICIT_VR_LITTLE_ENDIAN,))
    served = Served("SCP", "x", ALL, (Rule((Peer("READER"),), READ), Rule(None, STORE)))
    with archive_in(tmp_path) as archive, listening([Guarded(FindSCP(archive), served, "query")]) as listener:
        for title, status in (("READER", 0), ("WRITER", 0x0124)):
            association = associate(listener.port, context, calling_ae_title=title)
            send(association, identifier(PatientID="1"))
            found, final, _ = answers(association)
            assert (found, final.status) == ([], status)
            association.release()


def test_a_guarded_service_is_otherwise_as_it_was():
    guarded = Guarded(VerificationSCP(), Served("A", "x"), "query")
    assert list(guarded.handlers) == [C_ECHO_RQ]
    assert not hasattr(guarded, "extended")
    assert guarded.transfer_syntaxes("1.2.3") is None


# --- move destinations ---

PEERS = {
    "VIEWER": Peer("VIEWER", "127.0.0.1", 104),
    "OTHER": Peer("OTHER", "192.0.2.1", 105),
    "NOWHERE": Peer("NOWHERE"),
}


def asking(title="VIEWER", address="127.0.0.1"):
    return SimpleNamespace(rq=SimpleNamespace(calling_ae_title=title, called_ae_title="QR"), peer_address=address)


def test_destinations_are_those_configured():
    targets = MoveTargets(PEERS, RequestorSettings(max_pdu=65536))
    found = targets.find("VIEWER", asking())
    assert (found.host, found.port) == ("127.0.0.1", 104)
    assert (found.settings.calling_ae_title, found.settings.called_ae_title) == ("QR", "VIEWER")
    assert found.settings.max_pdu == 65536
    for title in ("viewer", "ELSEWHERE", "", "NOWHERE", "127.0.0.1:104"):
        assert targets.find(title, asking()) is None


@pytest.mark.parametrize(
    ("restriction", "title", "allowed"),
    [
        ("aetitle", "VIEWER", True),
        ("aetitle", "OTHER", False),
        ("host", "VIEWER", True),
        ("host", "OTHER", False),
        ("vendor", "VIEWER", True),
        ("vendor", "OTHER", False),
        ("", "OTHER", True),
    ],
)
def test_destinations_may_be_restricted(restriction, title, allowed):
    vendors = [(PEERS["VIEWER"], Peer("MINE", "x", 1)), (PEERS["OTHER"],)]
    targets = MoveTargets(PEERS, RequestorSettings(), restriction=restriction, vendors=vendors)
    assert (targets.find(title, asking()) is not None) is allowed

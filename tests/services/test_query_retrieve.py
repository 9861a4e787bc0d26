"""Archives as a service: AE titles with their rights, directories shared, taken over, or refused."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from dcmkit.errors import AssociationRejectedError, ExitCode, OutputDirectoryError, UsageError
from dcmkit.protocol.message import C_STORE_RQ
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.access import ALL, MoveTargets, Rule, Served, rights
from dcmkit.services.delivery import StoreTransport
from dcmkit.services.forwarding import Policy, Target
from dcmkit.services.models import PATIENT_ROOT, STUDY_ROOT
from dcmkit.services.query_retrieve import Offer, serve_archives, take_over
from dcmkit.services.server import Forwards
from dcmkit.settings import ArchiveSettings, AssociationSettings, ListenerSettings, RequestorSettings
from tests.archive.objects import CT, EXPLICIT, archive_in, image, part10, put
from tests.net.server import associate
from tests.services.objects import until
from tests.services.test_find import answers, send
from tests.services.test_identifier import identifier

CONTEXTS = (
    PresentationContextRQ(1, STUDY_ROOT.find, (EXPLICIT,)),
    PresentationContextRQ(3, CT, (EXPLICIT,)),
    PresentationContextRQ(5, STUDY_ROOT.move, (EXPLICIT,)),
    PresentationContextRQ(7, STUDY_ROOT.get, (EXPLICIT,)),
    PresentationContextRQ(9, PATIENT_ROOT.find, (EXPLICIT,)),
)
TARGETS = MoveTargets({}, RequestorSettings())


def serve(*served: Served, offer: Offer = Offer(), **how):  # noqa: B008
    """As `serve_archives`, with the settings of tests."""
    listener, archive = ListenerSettings(bind=("127.0.0.1",)), ArchiveSettings(durability="none")
    serve_archives(0, served, TARGETS, offer, listener, AssociationSettings(), archive, **how)


@contextmanager
def serving(*served: Served, offer: Offer = Offer(), **how):  # noqa: B008
    """The port of a service, stopped in order at the end."""
    ready = threading.Event()
    listeners = []

    def on_ready(listener):
        listeners.append(listener)
        ready.set()

    thread = threading.Thread(target=serve, args=served, kwargs={"offer": offer, "on_ready": on_ready, **how})
    thread.start()
    try:
        assert ready.wait(30)
        yield listeners[0].port
    finally:
        listeners[0].stop()
        thread.join(30)
        assert not thread.is_alive()


def store(association, uid: str) -> int:
    rq = C_STORE_RQ(message_id=9, affected_sop_class_uid=CT, affected_sop_instance_uid=uid)
    association.send(3, rq, image(uid))
    return association.receive().message.status


def count(port: int, title: str) -> int:
    association = associate(port, *CONTEXTS, called_ae_title=title)
    send(association, identifier("IMAGE", SOPInstanceUID=""))
    found = answers(association)[0]
    association.release()
    return len(found)


def test_each_title_has_its_archive_and_its_rights(tmp_path):
    served = (
        Served("ONE", str(tmp_path / "one")),
        Served("TWO", str(tmp_path / "two")),
        Served("ONE_READ", str(tmp_path / "one"), rights("R")),
        Served("IN", str(tmp_path / "in"), rights("W")),
    )
    with serving(*served) as port:
        association = associate(port, *CONTEXTS, called_ae_title="ONE")
        assert list(association.contexts.contexts) == [1, 3, 5, 7, 9]
        assert store(association, "1.2.3") == 0
        association.release()
        assert (count(port, "ONE"), count(port, "ONE_READ"), count(port, "TWO")) == (1, 1, 0)
        association = associate(port, *CONTEXTS, called_ae_title="IN")
        assert list(association.contexts.contexts) == [3]
        association.release()
        association = associate(port, *CONTEXTS, called_ae_title="ONE_READ")
        assert list(association.contexts.contexts) == [1, 3, 5, 7, 9]  # 3 is there for C-GET
        assert store(association, "1.2.4") == 0x0211
        association.release()
        with pytest.raises(AssociationRejectedError, match="called AE title"):
            associate(port, *CONTEXTS, called_ae_title="THREE")


def test_one_archive_under_any_title(tmp_path):
    with serving(Served("QR", str(tmp_path)), any_title=True) as port:
        assert count(port, "WHATEVER") == 0


def test_what_is_not_offered(tmp_path):
    offer = Offer(models=(STUDY_ROOT,), get=False)
    with serving(Served("QR", str(tmp_path), rights("R")), offer=offer) as port:
        association = associate(port, *CONTEXTS, called_ae_title="QR")
        assert list(association.contexts.contexts) == [1, 5]
        association.release()


def test_rights_of_each_peer(tmp_path):
    served = Served("QR", str(tmp_path), ALL, (Rule(None, rights("W")),))
    with serving(served) as port:
        association = associate(port, *CONTEXTS, called_ae_title="QR")
        send(association, identifier())
        assert answers(association)[1].status == 0x0124
        assert store(association, "1.2.3") == 0
        association.release()


def test_a_quota_of_studies(tmp_path):
    with serving(Served("QR", str(tmp_path), max_study_size=10)) as port:
        association = associate(port, *CONTEXTS, called_ae_title="QR")
        assert store(association, "1.2.3") == 0xA700
        association.release()


@pytest.mark.parametrize("other", ["a/b", "a/b/c", "."])
def test_directories_do_not_lie_within_each_other(tmp_path, other):
    served = (Served("A", str(tmp_path / "a")), Served("B", str(tmp_path / other)))
    with pytest.raises(UsageError, match="lies within"):
        serve(*served)


def test_the_whole_file_system_is_no_archive():
    with pytest.raises(UsageError, match="whole file system"):
        serve(Served("A", "/"))


def test_a_directory_of_dcmtk_is_taken_over(tmp_path, caplog):
    for number in range(3):
        (tmp_path / f"CT_{number}.dcm").write_bytes(part10(f"1.2.{number}"))
    (tmp_path / "index.dat").write_bytes(b"\0" * 1000)
    assert take_over(archive_in(tmp_path)) == 3
    assert "DCMTK" in caplog.text
    assert take_over(archive_in(tmp_path)) == 0
    assert (tmp_path / "index.dat").exists()
    with serving(Served("QR", str(tmp_path))) as port:
        assert count(port, "QR") == 3


def test_what_there_is_to_take_over(tmp_path):
    assert take_over(archive_in(tmp_path)) == 0
    assert take_over(archive_in(tmp_path / "none")) == 0
    with archive_in(tmp_path / "own") as own:
        put(own, "1.2.3")
    assert take_over(archive_in(tmp_path / "own")) == 0
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputDirectoryError) as caught:
        serve(Served("QR", str(tmp_path / "file" / "below")))
    assert caught.value.exit_code == ExitCode.INVALID_OUTPUT_DIRECTORY


def test_what_is_stored_is_passed_on_from_every_archive(tmp_path):
    with serving(Served("LAST", str(tmp_path / "last")), any_title=True) as last:
        target = Target("last", StoreTransport("127.0.0.1", last, RequestorSettings()))
        served = [Served(name, str(tmp_path / name)) for name in ("ONE", "TWO")]
        with serving(*served, forwards=Forwards([target], Policy())) as port:
            for number, one in enumerate(served):
                association = associate(port, *CONTEXTS, called_ae_title=one.ae_title)
                rq = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid=f"1.2.{number}")
                association.send(3, rq, image(f"1.2.{number}"))
                assert association.receive().message.status == 0
                association.release()
            assert until(lambda: len(list((tmp_path / "last").rglob("1.2.*.dcm"))) == 2)

"""DCMTK's, pynetdicom's and odil's SCUs, and Orthanc, against dcmkit's qrscp: answers, and objects byte for byte."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .orthanc import Orthanc, orthanc
from .part10 import read_part10
from .peers import dcmtk_storescp, files_by_uid, program_path
from .process import PeerError, free_port, run
from .query_objects import CT, MR, PATIENTS, ROOT, SC, study_uid, write_objects
from .query_peers import TITLE, QueryServer, can_serve, dcmkit_qrscp, fill
from .wire_query import Querier

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::UserWarning")]

Need = Callable[..., None]
STUDY_UIDS = {study_uid(study) for patient in PATIENTS for study in patient.studies}
FIRST = f"{ROOT}.1"
DESTINATION, ORTHANC = "DEST", "ORTHANC"


class Archive:
    """dcmkit's qrscp over all objects, and where its move destinations listen."""

    def __init__(self, server: QueryServer, objects: dict[str, Path], ports: dict[str, int]) -> None:
        self.server, self.objects, self.ports = server, objects, ports

    @property
    def at(self) -> tuple[str, str]:
        """Host and port as programs take them."""
        return "127.0.0.1", str(self.server.port)

    def what_differs(self, arrived: dict[str, Path], prefix: str = FIRST) -> dict[str, str]:
        """What is wrong with the objects of one study at their destination, by SOP Instance UID."""
        expected = {uid: path for uid, path in self.objects.items() if uid.startswith(f"{prefix}.")}
        wrong = dict.fromkeys(arrived.keys() - expected.keys(), "was not asked for")
        for uid, path in expected.items():
            if uid not in arrived:
                wrong[uid] = "did not arrive"
            elif read_part10(path).data_set != read_part10(arrived[uid]).data_set:
                wrong[uid] = "arrived with other bytes"
        return wrong


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if not can_serve("dcmkit"):
        pytest.skip("absent peers: dcmkit")
    place = tmp_path_factory.mktemp("archive")
    ports = {DESTINATION: free_port(), ORTHANC: free_port()}
    objects = write_objects(place / "sources")
    with dcmkit_qrscp(place / "qrscp", ports) as server:
        fill(server.port, objects.values())
        yield Archive(server, objects, ports)


# --- DCMTK -------------------------------------------------------------------------------------------------------


def test_findscu_of_dcmtk_finds_all_studies(archive: Archive, tmp_path: Path, need: Need) -> None:
    need("DCMTK")
    keys = ("-k", "0008,0052=STUDY", "-k", "StudyInstanceUID", "-k", "PatientName")
    done = run([str(program_path("findscu")), "-S", "-aec", TITLE, "-X", "-od", tmp_path, *keys, *archive.at])
    assert done.returncode == 0, done.stderr
    assert studies_in(tmp_path.glob("rsp*.dcm")) == STUDY_UIDS


def test_findscu_of_dcmtk_cancels(archive: Archive, need: Need) -> None:
    need("DCMTK")
    keys = ("-k", "0008,0052=STUDY", "-k", "StudyInstanceUID")
    done = run([str(program_path("findscu")), "-v", "-S", "-aec", TITLE, "--cancel", "2", *keys, *archive.at])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_getscu_of_dcmtk_brings_a_study(model: str, archive: Archive, tmp_path: Path, need: Need) -> None:
    need("DCMTK")
    keys = ("-k", "0008,0052=STUDY", "-k", "0010,0020=ID-doe", "-k", f"0020,000d={FIRST}")
    done = run([str(program_path("getscu")), "+B", model, "-aec", TITLE, "-od", tmp_path, *keys, *archive.at])
    assert done.returncode == 0, done.stderr
    assert archive.what_differs(files_by_uid(tmp_path)) == {}


def test_movescu_of_dcmtk_sends_a_study(archive: Archive, tmp_path: Path, need: Need) -> None:
    need("DCMTK")
    keys = ("-k", "0008,0052=STUDY", "-k", f"0020,000d={FIRST}")
    with dcmtk_storescp(tmp_path / "peer", "+B", port=archive.ports[DESTINATION]) as receiver:
        words = ("-S", "-aec", TITLE, "-aem", DESTINATION, *keys, *archive.at)
        done = run([str(program_path("movescu")), *words])
        assert done.returncode == 0, done.stderr
        assert archive.what_differs(receiver.stored()) == {}


def test_movescu_of_dcmtk_receives_by_itself(archive: Archive, tmp_path: Path, need: Need) -> None:
    need("DCMTK")
    keys = ("-k", "0008,0052=STUDY", "-k", f"0020,000d={FIRST}")
    words = ("-S", "-aec", TITLE, "-aem", DESTINATION, "+P", str(archive.ports[DESTINATION]), "-od", tmp_path)
    done = run([str(program_path("movescu")), *words, *keys, *archive.at])
    assert done.returncode == 0, done.stderr
    assert archive.what_differs(files_by_uid(tmp_path)) == {}


def test_movescu_of_dcmtk_to_nobody_is_an_error(archive: Archive, need: Need) -> None:
    need("DCMTK")
    keys = ("-k", "0008,0052=STUDY", "-k", f"0020,000d={FIRST}")
    done = run([str(program_path("movescu")), "-v", "-S", "-aec", TITLE, "-aem", "NOBODY", *keys, *archive.at])
    assert done.returncode != 0
    assert "MoveDestinationUnknown" in done.stderr


# --- pynetdicom --------------------------------------------------------------------------------------------------


def pynetdicom(program: str, archive: Archive, *words: str | Path) -> str:
    """One of pynetdicom's programs; what it said."""
    command = [sys.executable, "-W", "ignore", "-m", "pynetdicom", program, *archive.at, "-aec", TITLE, "-S", *words]
    done = run(command, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_findscu_of_pynetdicom(archive: Archive, tmp_path: Path, need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    need("pynetdicom")
    monkeypatch.chdir(tmp_path)
    pynetdicom("findscu", archive, "-w", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=")
    assert studies_in(tmp_path.glob("rsp*.dcm")) == STUDY_UIDS


def test_getscu_of_pynetdicom(archive: Archive, tmp_path: Path, need: Need) -> None:
    need("pynetdicom")
    words = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={FIRST}", "-od", tmp_path)
    pynetdicom("getscu", archive, *words)
    assert archive.what_differs(files_by_uid(tmp_path)) == {}


def test_movescu_of_pynetdicom(archive: Archive, tmp_path: Path, need: Need) -> None:
    need("pynetdicom", "DCMTK")
    with dcmtk_storescp(tmp_path / "peer", "+B", port=archive.ports[DESTINATION]) as receiver:
        words = ("-aem", DESTINATION, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={FIRST}")
        pynetdicom("movescu", archive, *words)
        assert archive.what_differs(receiver.stored()) == {}


# --- odil ----------------------------------------------------------------------------------------------------------


def odil(*words: str | Path) -> str:
    """odil's program; Debian's has find and get, and no move."""
    program = shutil.which("odil")
    if program is None:
        pytest.skip("absent peers: odil")
    done = run([program, *words], timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_find_of_odil(archive: Archive) -> None:
    said = odil("find", *archive.at, "ODIL", TITLE, "study", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=",
                "PatientID=ID-doe")  # fmt: skip
    found = {uid for uid in STUDY_UIDS if re.search(rf"{re.escape(uid)}(?![\d.])", said)}
    assert found == {f"{ROOT}.1", f"{ROOT}.2"}


def test_get_of_odil(archive: Archive, tmp_path: Path) -> None:
    odil("get", "-d", tmp_path, *archive.at, "ODIL", TITLE, "study", "QueryRetrieveLevel=STUDY",
         f"StudyInstanceUID={FIRST}")  # fmt: skip
    expected = {uid for uid in archive.objects if uid.startswith(f"{FIRST}.")}
    assert set(files_by_uid(tmp_path)) == expected, "odil encodes anew what it writes, so the UIDs must do"


# --- Orthanc -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def orthanc_scu(archive: Archive, tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[Orthanc]:
    need("Orthanc")
    modalities = {"archive": [TITLE, "127.0.0.1", archive.server.port]}
    place = tmp_path_factory.mktemp("orthanc")
    with orthanc(place, port=archive.ports[ORTHANC], DicomModalities=modalities, SynchronousCMove=True) as running:
        yield running


def asked(peer: Orthanc, level: str, **keys: str) -> tuple[str, list[dict[str, str]]]:
    """A query by Orthanc: its address, and the answers."""
    query = peer.json("POST", "/modalities/archive/query", {"Level": level, "Query": keys})["Path"]
    numbers = peer.json("GET", f"{query}/answers")
    return query, [peer.json("GET", f"{query}/answers/{number}/content?simplify") for number in numbers]


def test_orthanc_queries(orthanc_scu: Orthanc) -> None:
    _, found = asked(orthanc_scu, "Study", PatientID="ID-*", ModalitiesInStudy="")
    assert {answer["StudyInstanceUID"] for answer in found} == STUDY_UIDS
    _, found = asked(orthanc_scu, "Study", PatientName="Doe^John", NumberOfStudyRelatedInstances="")
    assert {answer["NumberOfStudyRelatedInstances"] for answer in found} == {"4", "3"}
    _, found = asked(orthanc_scu, "Series", StudyInstanceUID=FIRST, Modality="CT")
    assert [answer["SeriesInstanceUID"] for answer in found] == [f"{FIRST}.1"]


def test_orthanc_retrieves_what_it_found(archive: Archive, orthanc_scu: Orthanc) -> None:
    query, _ = asked(orthanc_scu, "Study", StudyInstanceUID=FIRST)
    orthanc_scu.json("POST", f"{query}/retrieve", {"TargetAet": ORTHANC, "Synchronous": True})
    stored = {uid: path for uid, path in orthanc_scu.stored().items() if uid.startswith(f"{FIRST}.")}
    assert archive.what_differs(stored) == {}


def test_orthanc_moves(archive: Archive, orthanc_scu: Orthanc) -> None:
    second = f"{ROOT}.2"
    order = {"Level": "Study", "Resources": [{"StudyInstanceUID": second}], "TargetAet": ORTHANC, "Synchronous": True}
    orthanc_scu.json("POST", "/modalities/archive/move", order)
    stored = {uid: path for uid, path in orthanc_scu.stored().items() if uid.startswith(f"{second}.")}
    assert archive.what_differs(stored, second) == {}


def test_orthanc_learns_that_a_destination_is_unknown(orthanc_scu: Orthanc) -> None:
    order = {"Level": "Study", "Resources": [{"StudyInstanceUID": FIRST}], "TargetAet": "NOBODY", "Synchronous": True}
    with pytest.raises(PeerError):
        orthanc_scu.json("POST", "/modalities/archive/move", order)


# --- a bare socket -------------------------------------------------------------------------------------------------


def test_a_context_that_was_not_proposed_is_a_failed_sub_operation(archive: Archive) -> None:
    identifier = {0x00080052: b"STUDY", 0x0020000D: FIRST.encode()}
    with Querier(archive.server.port, storage=[CT, MR], called=TITLE) as querier:
        done = querier.get(identifier)
    assert (done.status, len(done.stored)) == (0xB000, 3)
    assert (done.count(0x00001021), done.count(0x00001022)) == (3, 1)
    assert done.failed[0x00080058] == f"{FIRST}.2.1".encode() + b"\0"


def test_objects_that_were_deleted_meanwhile_are_failed_sub_operations(tmp_path: Path) -> None:
    """Files that are gone though the index knows them: a failure each, counted and listed, and the service lives."""
    if not can_serve("dcmkit"):
        pytest.skip("absent peers: dcmkit")
    objects = write_objects(tmp_path / "sources")
    with dcmkit_qrscp(tmp_path / "qrscp", {}) as running:
        fill(running.port, objects.values())
        gone = f"{FIRST}.1.2"
        running.stored()[gone].unlink()
        identifier = {0x00080052: b"STUDY", 0x0020000D: FIRST.encode()}
        with Querier(running.port, storage=[CT, SC], called=TITLE) as querier:
            done = querier.get(identifier)
            assert querier.find({**identifier, 0x00080050: b""}).status == 0
    assert (done.status, done.count(0x00001021), done.count(0x00001022)) == (0xB000, 3, 1)
    assert done.failed[0x00080058] == gone.encode() + b"\0" * (len(gone) % 2)


# --- reading what programs wrote -------------------------------------------------------------------------------------


def studies_in(paths: Iterator[Path]) -> set[str]:
    """The Study Instance UIDs in answers that were written as files."""
    from pydicom import dcmread

    return {str(dcmread(path, force=True).StudyInstanceUID) for path in paths}

"""dcmkit's findscu, getscu and movescu against dcmqrscp, Orthanc, pynetdicom's qrscp, and dcmkit's own qrscp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from .part10 import difference, read_part10
from .peers import dcmkit_command, files_by_uid
from .process import free_port, run
from .query_objects import BY_KEY, PATIENTS, study_uid, write_objects
from .query_peers import SERVERS, TITLE, QueryServer, can_serve, fill

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::UserWarning")]

DESTINATION = "MOVER"
NAMES = {
    "capek": "Čapek^Věra", "ivanov": "Иванов^Иван", "yamada": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "hong": "Hong^Gildong=洪^吉洞=홍^길동", "wang": "Wang^XiaoDong=王^小东", "utf": "Wang^XiaoDong=王^小東",
    "nizar": "قباني^لنزار", "sharon": "שרון^דבורה", "greek": "Διονυσιος", "mueller": "Müller^Jörg",
}  # fmt: skip
OPTIONS = {"Orthanc": {"DefaultEncoding": "Utf8"}}
"""Orthanc answers in a character set of its own choice, which is to hold all names."""
LOSSY = "pynetdicom"
"""Answers names in Latin-1, with question marks, and encodes objects anew; and once for each instance of a study."""


class Peer:
    """A filled server, the port its move destination is on, and what it was filled with."""

    def __init__(self, name: str, server: QueryServer, destination: int, objects: dict[str, Path]) -> None:
        self.name, self.server, self.destination, self.objects = name, server, destination, objects

    def dcmkit(self, program: str, *words: str | Path) -> CompletedProcess[str]:
        """One of dcmkit's SCUs against it."""
        where = ("127.0.0.1", str(self.server.port))
        return run(dcmkit_command(program, "-S", "-aec", TITLE, "-aet", DESTINATION, *words, *where), timeout=60)

    def study(self, key: str) -> dict[str, Path]:
        """The objects of one study."""
        return {uid: path for uid, path in self.objects.items() if path.name.startswith(f"{key}-")}

    def what_differs(self, key: str, directory: Path) -> dict[str, str]:
        """What is wrong with a study that arrived in a directory, by SOP Instance UID: the data sets' bytes count."""
        expected, arrived = self.study(key), files_by_uid(directory)
        wrong = dict.fromkeys(arrived.keys() - expected.keys(), "was not asked for")
        for uid, path in expected.items():
            if uid not in arrived:
                wrong[uid] = "did not arrive"
            elif self.name == LOSSY and (found := difference(path, arrived[uid])):
                wrong[uid] = found
            elif self.name != LOSSY and read_part10(path).data_set != read_part10(arrived[uid]).data_set:
                wrong[uid] = "arrived with other bytes"
        return wrong


@pytest.fixture(scope="module", params=["DCMTK", "Orthanc", "pynetdicom", "dcmkit"])
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    name = request.param
    if not can_serve(name):
        pytest.skip(f"absent peers: {name}")
    place, destination = tmp_path_factory.mktemp(name), free_port()
    objects = write_objects(place / "sources")
    with ExitStack() as stack:
        server = stack.enter_context(
            SERVERS[name](place / "server", {DESTINATION: destination}, **OPTIONS.get(name, {}))
        )
        fill(server.port, objects.values())
        yield Peer(name, server, destination, objects)


def uid_of(key: str) -> str:
    """Study Instance UID of a study's key."""
    return next(study_uid(study) for patient in PATIENTS for study in patient.studies if study.key == key)


def values(answer: dict[str, dict[str, list[object]]], tag: str) -> list[object]:
    """The values of an attribute in the DICOM JSON model."""
    return answer.get(tag, {}).get("Value", [])


def full_name(answer: dict[str, dict[str, list[object]]]) -> str:
    """Patient's Name with all its groups."""
    (value,) = values(answer, "00100010")
    assert isinstance(value, dict)
    groups = [value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("=")


# --- findscu -----------------------------------------------------------------------------------------------------


def test_findscu_tells_every_study_once(peer: Peer) -> None:
    done = peer.dcmkit("findscu", "--format", "jsonl", "-k", "0008,0052=STUDY", "-k", "StudyInstanceUID")
    assert done.returncode == 0, done.stderr
    found = [values(json.loads(line), "0020000D")[0] for line in done.stdout.splitlines()]
    assert set(found) == {study_uid(study) for patient in PATIENTS for study in patient.studies}
    assert peer.name == LOSSY or len(found) == len(set(found))


@pytest.mark.parametrize("key", NAMES)
def test_findscu_tells_names_in_unicode(key: str, peer: Peer) -> None:
    """Whatever the character set of the answer: the object's, as from DCMTK, or the server's, as from Orthanc."""
    patient = BY_KEY[key]
    words = ("-k", "0008,0052=STUDY", "-k", f"PatientID={patient.patient_id}", "-k", "PatientName", "-k", "0008,0005")
    done = peer.dcmkit("findscu", "--format", "jsonl", *words)
    assert done.returncode == 0, done.stderr
    names = {full_name(json.loads(line)) for line in done.stdout.splitlines()}
    assert names == {NAMES[key].encode("latin-1", "replace").decode("latin-1") if peer.name == LOSSY else NAMES[key]}


def test_findscu_tells_what_it_cannot_match(peer: Peer) -> None:
    done = peer.dcmkit("findscu", "--format", "jsonl", "-k", "0008,0052=STUDY", "-k", "StudyInstanceUID=1.2.3")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# --- getscu ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["s1", "s2", "s12"])
def test_getscu_brings_a_study_as_it_was_stored(key: str, peer: Peer, tmp_path: Path) -> None:
    done = peer.dcmkit("getscu", "--study", uid_of(key), "-od", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert peer.what_differs(key, tmp_path) == {}


def test_getscu_finds_first_what_is_named_otherwise(peer: Peer, tmp_path: Path) -> None:
    done = peer.dcmkit("getscu", "--accession", "A101", "-od", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert peer.what_differs("s2", tmp_path) == {}


def test_getscu_files_into_an_archive(peer: Peer, tmp_path: Path) -> None:
    done = peer.dcmkit("getscu", "--study", uid_of("s1"), "--archive", tmp_path / "archive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(files_by_uid(tmp_path / "archive")) == set(peer.study("s1"))
    assert run(dcmkit_command("index", "check", "-od", tmp_path / "archive")).returncode == 0


def test_getscu_says_so_where_nothing_matches(peer: Peer, tmp_path: Path) -> None:
    done = peer.dcmkit("getscu", "--study", "1.2.3", "-od", tmp_path)
    assert done.returncode != 0
    assert done.stderr.strip()
    assert files_by_uid(tmp_path) == {}


# --- movescu -----------------------------------------------------------------------------------------------------


def test_movescu_receives_by_itself(peer: Peer, tmp_path: Path) -> None:
    done = peer.dcmkit("movescu", "--study", uid_of("s1"), "-od", tmp_path, "+P", str(peer.destination))
    assert done.returncode == 0, done.stdout + done.stderr
    assert peer.what_differs("s1", tmp_path) == {}


def test_movescu_shows_what_the_administrator_must_add(peer: Peer, tmp_path: Path) -> None:
    """A801 from all but Orthanc, which answers C000 to whatever it does not like."""
    done = peer.dcmkit("movescu", "--study", uid_of("s1"), "-od", tmp_path, "+P", "0", "-aem", "NOBODY")
    assert done.returncode != 0
    assert ("C000" if peer.name == "Orthanc" else "NOBODY") in done.stderr
    assert "Traceback" not in done.stderr
    assert files_by_uid(tmp_path) == {}

"""Character sets of queries both ways: declared, missing and wrong, in requests and in answers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator

import pytest

from .peers import dcmkit_command
from .process import run
from .query_objects import BY_KEY, write_objects
from .query_peers import SERVERS, TITLE, can_serve, fill
from .wire_query import Identifier, Outcome, Querier

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::UserWarning")]

SPECIFIC_CHARACTER_SET, NAME, PATIENT_ID, LEVEL = 0x00080005, 0x00100010, 0x00100020, 0x00080052
DECLARED = [key for key, patient in BY_KEY.items() if patient.charset and patient.declared is None]


@pytest.fixture(scope="module", params=["dcmkit", "DCMTK"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    name = request.param
    if not can_serve(name):
        pytest.skip(f"absent peers: {name}")
    place = tmp_path_factory.mktemp(name)
    with SERVERS[name](place / "server", {}) as server:
        fill(server.port, write_objects(place / "sources").values())
        yield server.port


@pytest.fixture(scope="module")
def qrscp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if not can_serve("dcmkit"):
        pytest.skip("absent peers: dcmkit")
    place = tmp_path_factory.mktemp("qrscp")
    with SERVERS["dcmkit"](place / "server", {}) as server:
        fill(server.port, write_objects(place / "sources").values())
        yield server.port


# --- answers to dcmkit's findscu ---------------------------------------------------------------------------------


def told(port: int, key: str, *options: str) -> str:
    """The name findscu prints for one patient."""
    words = ("-S", "-aec", TITLE, "--format", "jsonl", "--level", "study", "-k", f"PatientID=ID-{key}")
    done = run(dcmkit_command("findscu", *words, "-k", "PatientName", *options, "127.0.0.1", str(port)))
    assert done.returncode == 0, done.stderr
    (line,) = {json.dumps(json.loads(line)["00100010"]) for line in done.stdout.splitlines()}
    return str(json.loads(line)["Value"][0]["Alphabetic"])


@pytest.mark.parametrize("options", [(), ("--assume-charset", "ISO_IR 100")])
def test_answers_that_declare_nothing_are_read(options: tuple[str, ...], port: int) -> None:
    assert told(port, "missing", *options) == BY_KEY["missing"].name


@pytest.mark.parametrize("options", [(), ("--assume-charset", "ISO_IR 100")])
def test_answers_that_declare_the_wrong_set_are_read(options: tuple[str, ...], port: int) -> None:
    assert told(port, "wrong", *options) == BY_KEY["wrong"].name


# --- requests to dcmkit's qrscp ----------------------------------------------------------------------------------


def ask(port: int, identifier: Identifier) -> Outcome:
    """A query at study level."""
    with Querier(port, called=TITLE) as querier:
        done = querier.find({LEVEL: b"STUDY", NAME: b"", PATIENT_ID: b"", **identifier})
        assert querier.find({LEVEL: b"STUDY", PATIENT_ID: b"ID-doe"}).status == 0, "the association goes on"
    return done


def names(outcome: Outcome) -> set[str]:
    """The names in the answers, decoded by pydicom as each declares."""
    from pydicom.charset import convert_encodings
    from pydicom.valuerep import PersonName

    found = set()
    for answer in outcome.answers:
        declared, raw = answer.get(SPECIFIC_CHARACTER_SET, b""), answer[NAME]
        assert isinstance(declared, bytes)
        assert isinstance(raw, bytes)
        encodings = convert_encodings(declared.decode().strip().split("\\"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.add(str(PersonName(raw.rstrip(b" \0"), encodings)))
    return found


@pytest.mark.parametrize("key", DECLARED)
def test_a_name_comes_in_the_set_of_the_request(key: str, qrscp: int) -> None:
    patient = BY_KEY[key]
    done = ask(qrscp, {PATIENT_ID: patient.patient_id.encode(), SPECIFIC_CHARACTER_SET: patient.charset.encode()})
    assert names(done) == {patient.name}
    declared = done.answers[0][SPECIFIC_CHARACTER_SET]
    assert isinstance(declared, bytes)
    assert declared.strip() == patient.charset.encode().strip()


@pytest.mark.parametrize("key", DECLARED)
@pytest.mark.parametrize("charset", [b"", b"ISO_IR 192", b"ISO_IR 100"])
def test_a_name_comes_whole_in_whatever_set(charset: bytes, key: str, qrscp: int) -> None:
    """Also where the request names none, or one that does not have its characters."""
    asked: Identifier = {SPECIFIC_CHARACTER_SET: charset} if charset else {}
    done = ask(qrscp, {PATIENT_ID: BY_KEY[key].patient_id.encode(), **asked})
    assert names(done) == {BY_KEY[key].name}


@pytest.mark.parametrize("key", ["missing", "wrong"])
def test_names_that_were_declared_wrongly_come_right(key: str, qrscp: int) -> None:
    asked: Identifier = {PATIENT_ID: f"ID-{key}".encode(), SPECIFIC_CHARACTER_SET: b"ISO_IR 192"}
    assert names(ask(qrscp, asked)) == {BY_KEY[key].name}


def test_a_request_that_declares_nothing_is_read_as_far_as_it_can_be(qrscp: int) -> None:
    for raw in ("Müller*".encode("latin-1"), "Müller*".encode()):
        assert names(ask(qrscp, {NAME: raw})) == {BY_KEY["mueller"].name}


@pytest.mark.parametrize("charset", [b"ISO_IR 192", b"ISO_IR 999", b"\\ISO 2022 IR 87", b"GB18030"])
def test_a_request_that_declares_the_wrong_set_is_answered_all_the_same(charset: bytes, qrscp: int) -> None:
    """The bytes are Latin-1: what matches is open (PS3.4 C.2.2.2), but there is an answer, and no end."""
    done = ask(qrscp, {NAME: "Müller*".encode("latin-1"), SPECIFIC_CHARACTER_SET: charset})
    assert done.status == 0 or done.status >> 12 in (0xA, 0xC)

"""dcmkit findscu in process, against a peer that answers what it is told: what is asked, printed, said, returned."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli import asking
from dcmkit.cli.group import group
from dcmkit.dataset.elements import DataSet, Element, encode, text
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import ExitCode
from dcmkit.protocol.message import C_FIND_RSP
from dcmkit.services.find_scu import PATIENT_ROOT_FIND, STUDY_ROOT_FIND, WORKLIST_FIND
from dcmkit.settings import ListenerSettings
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.net.server import listening
from tests.services.answering import (
    CHARSET,
    LEVEL,
    NAME,
    PATIENT_ID,
    STUDY_DATE,
    STUDY_UID,
    Answering,
    answering,
    pending,
    study,
)

STUDY_TIME, STEPS, MODALITY = 0x00080030, 0x00400100, 0x00080060


def run(*args: object) -> Result:
    return CliRunner().invoke(group, ["findscu", *map(str, args)])


def ask(service: Answering, *args: object) -> Result:
    """A query of a peer with this service."""
    with answering(service) as listener:
        return run("127.0.0.1", listener.port, *args)


def sop_class(service: Answering) -> str:
    return service.requests[-1][0].affected_sop_class_uid


# --- what is asked ---


def test_keys_are_sent_as_they_are_written():
    service = Answering()
    result = ask(service, "-S", "-k", "0008,0052=SERIES", "-k", "StudyInstanceUID=1.2", "-k", "(0008,0060)")
    assert result.exit_code == 0
    assert service.identifier() == {
        CHARSET: Element("CS", "ISO_IR 192"),
        LEVEL: Element("CS", "SERIES"),
        MODALITY: Element("CS", ""),
        STUDY_UID: Element("UI", "1.2"),
    }


@pytest.mark.parametrize(
    ("options", "uid"),
    [
        ((), WORKLIST_FIND),
        (("-W",), WORKLIST_FIND),
        (("-P",), PATIENT_ROOT_FIND),
        (("--patient",), PATIENT_ROOT_FIND),
        (("-S",), STUDY_ROOT_FIND),
        (("-O",), "1.2.840.10008.5.1.4.1.2.3.1"),
        (("-P", "-S"), STUDY_ROOT_FIND),
        (("-S", "-P"), PATIENT_ROOT_FIND),
        (("--level", "series"), STUDY_ROOT_FIND),
        (("--level", "patient"), PATIENT_ROOT_FIND),
        (("-k", "QueryRetrieveLevel=STUDY"), STUDY_ROOT_FIND),
        (("--accession", "A1"), STUDY_ROOT_FIND),
        (("--sop-class", "1.2.840.10008.5.1.4.38.2", "-k", "HangingProtocolName"), "1.2.840.10008.5.1.4.38.2"),
        (("--sop-class", "HangingProtocolInformationModelFind", "-k", "0072,0002"), "1.2.840.10008.5.1.4.38.2"),
    ],
)
def test_the_information_model(options, uid):
    service = Answering()
    result = ask(service, *options)
    assert result.exit_code == 0, result.output
    assert sop_class(service) == uid


def test_where_nothing_is_asked_for_the_usual_keys_are():
    service = Answering()
    ask(service, "-S", "--accession", "A1")
    keys = service.identifier()
    assert text(keys, LEVEL) == "STUDY"
    assert text(keys, 0x00080050) == "A1"
    assert {NAME, PATIENT_ID, STUDY_UID, STUDY_DATE, 0x00080061} <= set(keys)
    ask(service, "-P")
    assert text(service.identifier(), LEVEL) == "PATIENT"
    ask(service, "-P", "--patient-id", "4711")
    assert text(service.identifier(), LEVEL) == "STUDY"
    ask(service)
    (step,) = service.identifier()[STEPS].value
    assert LEVEL not in service.identifier()
    assert {MODALITY, 0x00400001, 0x00400002} <= set(step)


def test_what_a_worklist_is_asked_for():
    service = Answering()
    ask(service, "-W", "-k", "ScheduledProcedureStepSequence[0].Modality=CT", "-k", "(0040,0100)[0].(0040,0001)=CT1")
    (step,) = service.identifier()[STEPS].value
    assert (text(step, MODALITY), text(step, 0x00400001), step[0x00400002].value) == ("CT", "CT1", "")


@pytest.mark.parametrize(
    ("option", "syntax"),
    [
        ("-x=", EXPLICIT_VR_LITTLE_ENDIAN),
        ("-xe", EXPLICIT_VR_LITTLE_ENDIAN),
        ("-xb", EXPLICIT_VR_BIG_ENDIAN),
        ("-xd", DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
        ("-xi", IMPLICIT_VR_LITTLE_ENDIAN),
    ],
)
def test_what_is_proposed(option, syntax):
    class First(Answering):
        def _find(self, association, context_id, message):
            self.proposed = association.rq.presentation_contexts[0].transfer_syntaxes
            super()._find(association, context_id, message)

    service = First([study(1)])
    assert ask(service, "-S", option).exit_code == 0
    assert service.proposed[0] == syntax
    assert (len(service.proposed) == 1) == (option == "-xi")


def test_each_query_file_is_a_query_of_its_own_and_keys_override_it(tmp_path):
    first, second = tmp_path / "first.dcm", tmp_path / "second"
    query: DataSet = {LEVEL: Element("CS", "STUDY"), NAME: Element("PN", "Doe*"), STUDY_UID: Element("UI", "")}
    first.write_bytes(file_meta("1.2", "1.3", EXPLICIT_VR_LITTLE_ENDIAN) + encode(query, EXPLICIT_VR_LITTLE_ENDIAN))
    second.write_bytes(encode({**query, NAME: Element("PN", "Roe*")}, IMPLICIT_VR_LITTLE_ENDIAN))
    service = Answering([study(1)])
    result = ask(service, "-S", first, second, "-k", "PatientID=1", "--format", "jsonl")
    assert result.exit_code == 0
    assert [text(service.identifier(number), NAME) for number in (0, 1)] == ["Doe*", "Roe*"]
    assert text(service.identifier(1), PATIENT_ID) == "1"
    assert service.associations == 1
    assert result.stdout.count("\n") == 2


def test_repeat():
    service = Answering([study(1)])
    assert ask(service, "-S", "--repeat", 3, "--abort", "--format", "jsonl").stdout.count("\n") == 3
    assert (len(service.requests), service.associations) == (3, 1)


@pytest.mark.parametrize(
    ("options", "raw", "declared"),
    [
        ((), "Hüfte".encode(), "ISO_IR 192"),
        (("--charset", "ISO_IR 100"), b"H\xfcfte ", "ISO_IR 100"),
        (("--charset", "latin1"), b"H\xfcfte ", "ISO_IR 100"),
        (("-k", "SpecificCharacterSet=ISO_IR 100"), b"H\xfcfte ", "ISO_IR 100"),
        (("-k", "0008,0005"), "Hüfte".encode(), "ISO_IR 192"),
        (("-k", "0008,0005=ISO_IR 100", "--charset", "utf-8"), "Hüfte".encode(), "ISO_IR 192"),
    ],
)
def test_the_request_says_how_its_keys_are_encoded(options, raw, declared):
    service = Answering()
    assert ask(service, "-S", "-k", "PatientName=Hüfte", *options).exit_code == 0
    assert raw in service.requests[0][2]
    assert text(service.identifier(), CHARSET) == declared


# --- what is printed ---

ANSWERS = [study(1), study(2, name="Müller^Jürgen")]
KEYS = ("-S", "-k", "PatientName", "-k", "StudyInstanceUID", "-k", "0008,0020")


def test_a_table_for_people():
    result = ask(Answering(ANSWERS), *KEYS)
    assert result.exit_code == 0
    *head, rule, first, second = result.stdout.splitlines()
    assert "PatientName" in head[0]  # the others perhaps on several lines
    assert set(rule) <= {"-", " "}
    assert first.split() == ["Doe^1", "1.2.3.1", "20240131"]
    assert second.split() == ["Müller^Jürgen", "1.2.3.2", "20240131"]
    assert result.stderr == ""


def test_json_lines_are_the_dicom_model():
    lines = ask(Answering(ANSWERS), *KEYS, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["0020000D"] for line in lines] == [
        {"vr": "UI", "Value": ["1.2.3.1"]},
        {"vr": "UI", "Value": ["1.2.3.2"]},
    ]
    assert "Müller^Jürgen" in lines[1]


def test_json_is_one_array():
    found = json.loads(ask(Answering(ANSWERS), *KEYS, "--format", "json").stdout)
    assert [answer["00100010"]["Value"][0]["Alphabetic"] for answer in found] == ["Doe^1", "Müller^Jürgen"]
    assert json.loads(ask(Answering(), *KEYS, "--format", "json").stdout) == []


def test_csv_has_the_keys_asked_for_as_columns():
    rows = list(csv.reader(io.StringIO(ask(Answering(ANSWERS), *KEYS, "--format", "csv").stdout)))
    assert rows == [
        ["PatientName", "StudyInstanceUID", "StudyDate"],
        ["Doe^1", "1.2.3.1", "20240131"],
        ["Müller^Jürgen", "1.2.3.2", "20240131"],
    ]


def test_xml_is_the_native_model():
    root = ET.fromstring(ask(Answering(ANSWERS), *KEYS, "--format", "xml").stdout)
    assert len(root) == 2
    assert "Müller" in "".join(root.itertext())


def test_no_matches_are_no_failure():
    result = ask(Answering(), *KEYS)
    assert (result.exit_code, result.output) == (0, "")
    result = ask(Answering(), *KEYS, "-v")
    assert "no matches" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "xml"])
def test_nothing_of_the_peers_reaches_the_terminal_raw(form):
    result = ask(Answering([study(1, name="A\x1b[2J\x9b1m\u202eB")]), *KEYS, "--format", form)
    assert result.exit_code == 0
    assert not {"\x1b", "\x9b", "\u202e"} & set(result.output)
    assert "A" in result.stdout


def test_names_of_every_script_come_out_as_unicode():
    raw = {
        "Yamada^Tarou=山田^太郎=やまだ^たろう": ("\\ISO 2022 IR 87", None),
        "שרון^דבורה": ("ISO_IR 138", "iso8859-8"),
        "Люкceмбypг": ("ISO_IR 144", "iso8859-5"),
    }
    answers = [{CHARSET: Element("CS", charset), NAME: Element("PN", name)} for name, (charset, _) in raw.items()]
    names = [
        json.loads(line)["00100010"]["Value"][0]
        for line in ask(Answering(answers), *KEYS, "--format", "jsonl").stdout.splitlines()
    ]
    assert names[0] == {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    assert [name["Alphabetic"] for name in names[1:]] == ["שרון^דבורה", "Люкceмбypг"]


UNDECLARED = b"\x10\0\x10\0\x06\0\0\0H\xfcfte "


def test_text_without_a_declared_character_set():
    service = Answering([UNDECLARED], syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))
    assert "Hüfte" in ask(service, *KEYS).stdout
    assert "Hќfte" in ask(service, *KEYS, "--assume-charset", "ISO_IR 144").stdout


def test_text_with_a_wrong_character_set():
    wrong = b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100\x10\0\x10\0\x06\0\0\0" + "Hüfte".encode()
    service = Answering([wrong], syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))
    assert "HÃ¼fte" in ask(service, *KEYS).stdout
    assert "Hüfte" in ask(service, *KEYS, "--assume-charset", "utf-8", "--override-charset").stdout


def test_a_node_says_how_its_answers_are_encoded(tmp_path):
    config = tmp_path / "xdg" / "dcmkit" / "config.toml"
    config.parent.mkdir(parents=True)
    with answering(Answering([UNDECLARED], syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))) as listener:
        node = f'[nodes.pacs]\nhost = "127.0.0.1"\nport = {listener.port}\n'
        config.write_text(node + 'assume_charset = "ISO_IR 144"\n')
        assert "Hќfte" in run("@pacs", *KEYS).stdout


def test_answers_are_seen_while_the_peer_still_thinks():
    """In a process of its own, its stdout a pipe."""
    seen = threading.Event()

    class Slow(Answering):
        def _find(self, association, context_id, message):
            association.skip_data_set()
            association.send(
                context_id, pending(message.message_id), encode(study(1), association.contexts.by_id(context_id)[1])
            )
            assert seen.wait(30)
            self._final(association, context_id, message.message_id, 0)

    for form in ("table", "jsonl", "json", "csv", "xml"):
        seen.clear()
        with answering(Slow()) as listener:
            command = [
                sys.executable,
                "-m",
                "dcmkit",
                "findscu",
                "127.0.0.1",
                str(listener.port),
                *KEYS,
                "--format",
                form,
            ]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                text = b""
                while b"1.2.3.1" not in text and (piece := os.read(process.stdout.fileno(), 65536)):
                    text += piece
                seen.set()
                process.stdout.read()
                assert b"1.2.3.1" in text
            assert process.returncode == 0


# --- files ---


def test_answers_into_dicom_files(tmp_path):
    result = ask(Answering(ANSWERS), *KEYS, "-X", "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["rsp0001.dcm", "rsp0002.dcm"]
    header = read_file_header(tmp_path / "rsp0002.dcm")
    assert header.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN
    assert "Müller^Jürgen".encode() in (tmp_path / "rsp0002.dcm").read_bytes()
    again = Answering()
    assert ask(again, "-S", tmp_path / "rsp0001.dcm", "-k", "StudyInstanceUID=").exit_code == 0
    assert text(again.identifier(), NAME) == "Doe^1"


def test_answers_into_xml_files(tmp_path):
    result = ask(Answering(ANSWERS), *KEYS, "-Xx", "-Xs", "all.xml", "-od", tmp_path, "-Xlo", "1")
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["all.xml", "rsp0001.xml"]
    assert ET.fromstring((tmp_path / "rsp0001.xml").read_text()).tag == "data-set"
    assert len(ET.fromstring((tmp_path / "all.xml").read_text())) == 1


def test_answers_into_files_and_printed(tmp_path):
    result = ask(Answering(ANSWERS), *KEYS, "-X", "+sr", "-od", tmp_path)
    assert "Doe^1" in result.stdout
    assert len(os.listdir(tmp_path)) == 2
    assert ask(Answering(ANSWERS), *KEYS, "-sr").output == ""


def test_no_directory_to_write_to(tmp_path):
    result = ask(Answering(ANSWERS), *KEYS, "-X", "-od", tmp_path / "none")
    assert result.exit_code == ExitCode.INVALID_OUTPUT_DIRECTORY
    (tmp_path / "rsp0001.dcm").mkdir()
    result = ask(Answering(ANSWERS), *KEYS, "-X", "-od", tmp_path)
    assert result.exit_code == ExitCode.CANNOT_WRITE_OUTPUT
    assert os.listdir(tmp_path) == ["rsp0001.dcm"]


# --- ends ---


def test_a_limit_cancels_and_says_so():
    service = Answering(study(number) for number in range(10**9))
    result = ask(service, *KEYS, "--limit", 3, "--format", "jsonl")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 3
    assert "cancelled after 3 answers" in result.stderr
    assert service.cancelled == 1


def test_cancel_takes_what_still_comes():
    service = Answering([study(number) for number in range(10)])
    service.honours_cancel = False
    result = ask(service, *KEYS, "--cancel", 3, "--format", "jsonl")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 10)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA700, "--split-date"),
        (0xA900, "try -S"),
        (0xC001, "unable to process"),
        (0xFE00, "cancelled"),
        (0x0122, "try -S"),
    ],
)
def test_a_failure_is_no_success(status, words):
    result = ask(Answering([study(1), status], comment="Nix\x1b[2J"), *KEYS)
    assert result.exit_code == ExitCode.REQUEST_FAILED
    assert "Doe^1" in result.stdout
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert "Nix\\x1b[2J" in result.stderr


def test_one_query_that_fails_does_not_stop_the_others(tmp_path):
    paths = []
    for name in ("Doe", "Roe", "Poe"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(
            encode({NAME: Element("PN", name), STUDY_UID: Element("UI", "")}, IMPLICIT_VR_LITTLE_ENDIAN)
        )

    def answer(keys: DataSet):
        return [0xC000] if text(keys, NAME) == "Roe" else [study(1, name=text(keys, NAME))]

    result = ask(Answering(answer), "-S", *paths)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "Doe" in result.stdout
    assert "Poe" in result.stdout
    assert result.stderr.count("error") == 1
    assert ask(Answering([0xC000]), "-S", *paths).exit_code == ExitCode.REQUEST_FAILED


def test_a_model_the_peer_does_not_have():
    result = ask(Answering(sop_classes=[STUDY_ROOT_FIND]), "-P")
    assert result.exit_code == ExitCode.NO_PRESENTATION_CONTEXT
    assert "try -S" in result.stderr


def test_answers_so_far_are_printed_where_the_association_ends():
    result = ask(Answering([study(1), None]), *KEYS, "--format", "json")
    assert result.exit_code == ExitCode.ASSOCIATION_ABORTED
    assert len(json.loads(result.stdout)) == 1
    assert "abort" in result.stderr


@pytest.mark.parametrize("garbage", [b"\x08\0\x05\0CS\x20\0AB", b"\xff" * 64])
def test_answers_that_are_garbage_do_not_hide(garbage):
    result = ask(Answering([garbage, study(2)]), *KEYS)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "1.2.3.2" in result.stdout
    assert "could not be read" in result.stderr
    assert ask(Answering([garbage]), *KEYS).exit_code == ExitCode.NOTHING_DONE


def test_answers_without_data_sets_do_not_hide():
    empty = C_FIND_RSP(message_id_being_responded_to=1, status=0xFF00)
    result = ask(Answering([empty]), *KEYS)
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "no data set" in result.stderr


def test_an_answer_to_another_question_ends_the_association():
    result = ask(Answering([study(1), pending(99)]), *KEYS)
    assert result.exit_code == ExitCode.ASSOCIATION_ABORTED
    assert "Doe^1" in result.stdout


def test_round_counts_are_suspicious():
    result = ask(Answering([study(number) for number in range(100)]), *KEYS, "--format", "csv")
    assert result.exit_code == 0
    assert "exactly 100 answers" in result.stderr
    assert ask(Answering([study(number) for number in range(101)]), *KEYS).stderr == ""


def test_a_warning_status_is_told():
    result = ask(Answering([study(1), 0xB001]), *KEYS)
    assert result.exit_code == 0
    assert "limit reached" in result.stderr


# --- negotiation ---


def test_extended_negotiation_asks_for_what_is_wanted():
    service = Answering(extended=b"\1\1\1")
    result = ask(service, *KEYS, "--relational", "--fuzzy")
    assert (result.exit_code, result.stderr) == (0, "")
    assert service.negotiated[0].sop_class_uid == STUDY_ROOT_FIND
    assert service.negotiated[0].information == b"\1\0\1"
    ask(service, *KEYS, "--combined-datetime")
    assert service.negotiated[1].information == b"\0\1"
    ask(service, *KEYS)
    assert len(service.negotiated) == 2


@pytest.mark.parametrize("answer", [None, b"", b"\1\0\0"])
def test_what_the_peer_did_not_agree_to_is_said(answer):
    result = ask(Answering(extended=answer), *KEYS, "--relational", "--fuzzy")
    assert result.exit_code == 0
    assert "fuzzy" in result.stderr
    assert ("relational" in result.stderr) == (answer != b"\1\0\0")


# --- trying again ---


def test_a_peer_that_comes_back_is_asked_again(monkeypatch):
    waited = []
    monkeypatch.setattr(asking, "sleep", waited.append)
    attempts = []

    class Flaky(Answering):
        def _find(self, association, context_id, message):
            attempts.append(1)
            if len(attempts) < 3:
                association.skip_data_set()
                association.abort()
                return
            super()._find(association, context_id, message)

    with answering(Flaky([study(1)])) as listener:
        assert (
            run("127.0.0.1", listener.port, *KEYS, "--retries", 1, "--retry-delay", 9).exit_code
            == ExitCode.ASSOCIATION_ABORTED
        )
        attempts.clear()
        result = run("127.0.0.1", listener.port, *KEYS, "--retries", 2, "--retry-delay", 9)
    assert (result.exit_code, waited) == (0, [9, 9, 9])
    assert result.stdout.count("Doe^1") == 1
    assert result.stderr.count("asking again") == 2


def test_answers_are_not_printed_twice_by_asking_again(monkeypatch):
    monkeypatch.setattr(asking, "sleep", lambda _: None)
    result = ask(Answering([study(1), None]), *KEYS, "--retries", 5)
    assert result.exit_code == ExitCode.ASSOCIATION_ABORTED
    assert result.stdout.count("Doe^1") == 1


def test_a_permanent_refusal_is_not_tried_again(monkeypatch):
    monkeypatch.setattr(asking, "sleep", lambda _: pytest.fail("waited"))
    with listening(settings=ListenerSettings(check_called_ae_title=True)) as listener:
        result = run("127.0.0.1", listener.port, *KEYS, "-aec", "OTHER", "--retries", 5)
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED


def test_nobody_listens(monkeypatch):
    waited = []
    monkeypatch.setattr(asking, "sleep", waited.append)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = run("127.0.0.1", port, *KEYS, "--retries", 2, "--format", "json")
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED
    assert len(waited) == 2


# --- windows of dates ---


class Capped(Answering):
    """An archive with studies at certain moments that answers no more than `cap` of them.

    Args:
        status: what it says where there are more.
    """

    def __init__(self, moments: list[tuple[str, str]], cap: int, status: int = 0) -> None:
        super().__init__(self._matching)
        self.moments = moments
        self.cap = cap
        self.status = status

    def _matching(self, keys: DataSet):
        found = [
            {**study(number, date=day), STUDY_TIME: Element("TM", time)}
            for number, (day, time) in enumerate(self.moments)
            if _within(day, text(keys, STUDY_DATE)) and _within(time, text(keys, STUDY_TIME))
        ]
        return [*found[: self.cap], *([self.status] if len(found) > self.cap else [])]


def _within(value: str, wanted: str) -> bool:
    first, dash, last = wanted.partition("-")
    return not wanted or (value == wanted if not dash else (first or "0") <= value <= (last or "9"))


@pytest.mark.parametrize("status", [0, 0xA700, 0xB001])
def test_windows_are_halved_until_everything_is_there(status):
    moments = [(f"202401{day:02}", f"{hour:02}0000") for day in range(1, 29) for hour in range(24)]
    service = Capped(moments, 100, status)
    result = ask(service, "-S", "-k", "StudyDate=20240101-20240131", "--split-date", "14d", "--format", "csv")
    assert result.exit_code == 0, result.stderr
    uids = [row[-1] for row in csv.reader(io.StringIO(result.stdout))][1:]
    assert len(uids) == len(set(uids)) == len(moments)
    assert service.associations == 1


def test_a_day_is_halved_by_time():
    moments = [("20240101", f"{second // 3600:02}{second // 60 % 60:02}00") for second in range(0, 86400, 240)]
    result = ask(Capped(moments, 100), "-S", "--split-date", "1y", "--format", "jsonl")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == len(moments) == 360


def test_studies_that_cannot_be_told_apart_are_missed_and_that_is_said():
    result = ask(Capped([("20240101", "120000")] * 150, 100, 0xA700), "-S", "--split-date", "7d", "--format", "jsonl")
    assert result.exit_code == ExitCode.REQUEST_FAILED
    assert result.stdout.count("\n") == 100
    assert "missing" in result.stderr


def test_studies_that_may_be_missing_are_said():
    result = ask(Capped([("20240101", "120000")] * 100, 100), "-S", "--split-date", "7d", "--format", "jsonl")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 100)
    assert "exactly 100 answers" in result.stderr


def test_windows_end_with_the_limit():
    moments = [(f"202401{day:02}", "120000") for day in range(1, 29)]
    service = Capped(moments, 100)
    result = ask(
        service, "-S", "-k", "StudyDate=20240101-20240131", "--split-date", "3", "--limit", 10, "--format", "jsonl"
    )
    assert (result.exit_code, result.stdout.count("\n")) == (0, 10)
    assert len(service.requests) == 4


def test_a_window_that_fails_ends_the_query():
    assert ask(Answering([0xC000]), "-S", "--split-date", "7d").exit_code == ExitCode.REQUEST_FAILED


# --- bad usage ---


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("localhost",),
        ("localhost", "104", "-k", "Nothing=1"),
        ("localhost", "104", "-S", "--level", "room"),
        ("localhost", "104", "-W", "--level", "study"),
        ("localhost", "104", "-S", "--format", "pdf"),
        ("localhost", "104", "-S", "--charset", "klingon"),
        ("localhost", "104", "-S", "--assume-charset", "klingon"),
        ("localhost", "104", "-S", "--override-charset"),
        ("localhost", "104", "-S", "--sop-class", "1.2"),
        ("localhost", "104", "--sop-class", "1.2"),
        ("localhost", "104", "--sop-class", "Nothing"),
        ("localhost", "104", "-W", "--split-date", "7d"),
        ("localhost", "104", "-P", "--split-date", "7d"),
        ("localhost", "104", "-S", "--split-date", "soon"),
        ("localhost", "104", "-S", "--limit", "0"),
        ("localhost", "104", "-S", "+tls", "key.pem", "cert.pem"),
        ("localhost", "104", "-S", "-u"),
    ],
)
def test_bad_usage(arguments):
    result = run(*arguments)
    assert result.exit_code == ExitCode.BAD_USAGE, result.output
    assert result.stderr.count("\n") == 1


def test_a_date_that_is_none_is_bad_usage():
    assert ask(Answering(), "-S", "-k", "StudyDate=soon", "--split-date", "7d").exit_code == ExitCode.BAD_USAGE


def test_a_query_file_that_is_not_there(tmp_path: Path):
    assert run("localhost", "104", "-S", tmp_path / "none").exit_code == ExitCode.CANNOT_READ_INPUT


def test_a_key_that_cannot_be_written_in_the_character_set():
    result = ask(Answering(), "-S", "-k", "PatientName=山", "--charset", "ISO_IR 100")
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "--charset" in result.stderr


def test_no_patient_data_in_the_log():
    result = ask(Answering([study(1), b"\xff" * 64]), *KEYS, "-v", "-k", "PatientID=4711")
    assert "Doe" not in result.stderr
    assert "4711" not in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_stdout():
    with answering(Answering(ANSWERS)) as listener, open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "dcmkit", "findscu", "127.0.0.1", str(listener.port), *KEYS]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == ExitCode.CANNOT_WRITE_OUTPUT
    assert done.stderr.count("\n") == 1


def test_starting_takes_no_heavy_module():
    code = (
        "import sys; sys.argv = ['dcmkit', 'findscu', '--help']\n"
        "from dcmkit.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'pydicom', 'numpy', 'pynetdicom', 'rich', 'logging', 'dataclasses', 'sqlite3', 'asyncio'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

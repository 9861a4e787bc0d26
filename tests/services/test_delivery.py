"""What an answer means for the spool, and C-STORE as a way to a destination."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmkit.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    ConnectError,
    ConnectionLostError,
    DcmkitError,
    InputError,
    InvalidDataSetError,
    NoPresentationContextError,
    PeerTimeoutError,
    ProtocolError,
)
from dcmkit.services.delivery import DELIVERED, FAILED, GONE, REFUSED, UNTRIED, Outcome, StoreTransport, outcome_of
from dcmkit.services.sending import File, Sent, lost
from dcmkit.settings import RequestorSettings
from tests.services.test_storage_scu import Recorder, named, recording, stored_file

SETTINGS = RequestorSettings(calling_ae_title="ROUTER", called_ae_title="SCP", dimse_timeout=15.0)


def sent(status: int | None, comment: str = "") -> Sent:
    return Sent("x.dcm", "1.2", "1.3", status, comment, 0.0, 0, False)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, DELIVERED),
        (0xB000, DELIVERED),
        (0xA700, FAILED),
        (0xA7FF, FAILED),
        (0x0110, FAILED),
        (0x0213, FAILED),
        (0xA900, REFUSED),
        (0xC000, REFUSED),
        (0x0122, REFUSED),
        (0x0124, REFUSED),
        (0x0111, REFUSED),
    ],
)
def test_statuses(status: int, kind: str) -> None:
    assert outcome_of(sent(status)).kind == kind


def test_what_the_peer_says_is_not_for_the_log() -> None:
    outcome = outcome_of(sent(0xC000, "cannot read Doe^Jane"))
    assert outcome.reason == "refused with status 0xC000: cannot read Doe^Jane"
    assert outcome.told.startswith("refused with status 0xC000: ")
    assert "Doe" not in outcome.told


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectError("nobody there"), UNTRIED),
        (AssociationRejectedError("called AE title not recognised"), UNTRIED),
        (AssociationAbortedError("aborted"), FAILED),
        (ConnectionLostError("lost"), FAILED),
        (PeerTimeoutError("silent"), FAILED),
        (ProtocolError("peer answered 'Doe^Jane'"), FAILED),
        (NoPresentationContextError("no context"), REFUSED),
        (InvalidDataSetError("the file has changed"), REFUSED),
        (InputError("cannot be read"), REFUSED),
    ],
)
def test_errors(error: DcmkitError, kind: str) -> None:
    outcome = outcome_of(lost(named("1.2", "1.2.840.10008.1.2"), error))
    assert (outcome.kind, outcome.reason) == (kind, str(error))
    assert "Doe" not in outcome.told


def deliver(port: int, paths: list[str], stop_after: int = 99) -> list[tuple[str, Outcome]]:
    reports: list[tuple[str, Outcome]] = []
    transport = StoreTransport("127.0.0.1", port, SETTINGS)
    transport.deliver(paths, lambda *report: reports.append(report), lambda: len(reports) >= stop_after)
    return reports


def paths_of(*files: File) -> list[str]:
    return [file.path for file in files]


def test_objects_go_over_one_association(tmp_path: Path) -> None:
    recorder = Recorder()
    paths = paths_of(*(stored_file(tmp_path) for _ in range(3)))
    with recording(recorder) as listener:
        assert deliver(listener.port, paths) == [(path, Outcome(DELIVERED)) for path in paths]
    assert len(recorder.associations) == 1
    assert len(recorder.received) == 3


def test_a_stop_leaves_the_rest_untold(tmp_path: Path) -> None:
    recorder = Recorder()
    paths = paths_of(*(stored_file(tmp_path) for _ in range(3)))
    with recording(recorder) as listener:
        assert [path for path, _ in deliver(listener.port, paths, stop_after=1)] == paths[:1]


def test_files_that_are_gone_or_no_dicom(tmp_path: Path) -> None:
    recorder = Recorder()
    good = stored_file(tmp_path)
    bad = tmp_path / "Doe^Jane.dcm"
    bad.write_bytes(b"no DICOM")
    gone = str(tmp_path / "gone.dcm")
    with recording(recorder) as listener:
        reports = dict(deliver(listener.port, [gone, str(bad), good.path]))
    assert {os.path.basename(path): outcome.kind for path, outcome in reports.items()} == {
        "gone.dcm": GONE,
        "Doe^Jane.dcm": REFUSED,
        os.path.basename(good.path): DELIVERED,
    }
    assert "Doe" not in reports[str(bad)].told
    assert deliver(0, [gone])[0][1].kind == GONE  # and nobody is asked


def test_nobody_there(tmp_path: Path) -> None:
    with recording(Recorder()) as listener:
        port = listener.port
    with pytest.raises(ConnectError):
        deliver(port, paths_of(stored_file(tmp_path)))


def test_a_peer_that_breaks_off_at_one_object_gets_the_others(tmp_path: Path) -> None:
    recorder = Recorder(answers=lambda number: None if number == 1 else (0, ""))
    paths = paths_of(*(stored_file(tmp_path) for _ in range(3)))
    with recording(recorder) as listener:
        kinds = [outcome.kind for _, outcome in deliver(listener.port, paths)]
    assert kinds == [DELIVERED, FAILED, DELIVERED]

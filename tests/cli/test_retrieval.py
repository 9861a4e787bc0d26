"""What getscu and movescu share: options, wants, where objects go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from dcmkit.archive.folder import Folder
from dcmkit.archive.store import Archive
from dcmkit.cli.options import Tool, settings_options, tool
from dcmkit.cli.retrieval import (
    PREFERRED,
    Given,
    chosen_model,
    destination,
    identifier_syntaxes,
    retrieval_options,
    wants,
)
from dcmkit.cli.retrieval_report import Outcome
from dcmkit.dataset.elements import text
from dcmkit.settings import ArchiveSettings, QuerySettings, RetrieveSettings, RetrySettings
from dcmkit.uids import TRANSFER_SYNTAXES
from tests.services.retrieve_peer import ACCESSION, LEVEL, STUDY


def probe(act: Any) -> Tool:
    @tool("getscu")
    @settings_options(RetrieveSettings, RetrySettings, QuerySettings, ArchiveSettings)
    @retrieval_options
    def command(**options: Any) -> None:
        act(Given.of(options))

    return command


def run(act: Any, *args: object) -> Result:
    return CliRunner().invoke(probe(act), [*map(str, args)])


def given(*args: object) -> Given:
    found: list[Given] = []
    result = run(found.append, *args)
    assert result.exit_code == 0, result.output
    return found[0]


def test_preferences_are_those_of_the_settings() -> None:
    assert list(PREFERRED) == list(RetrieveSettings.options["preferred_syntax"].choices)
    assert all(uid in TRANSFER_SYNTAXES for uids in PREFERRED.values() for uid in uids)


def test_what_was_given() -> None:
    found = given("--study", "1.2", "--study", "1.3", "--ignore", "+B", "-B", "--repeat", 2, "--cancel", 3, "--abort")
    assert found.studies == ("1.2", "1.3")
    assert (found.ignore, found.repeat, found.cancel, found.abort) == (True, 2, 3, True)
    assert found.named
    assert not given("-k", "PatientID=1").named


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["-k", "PatientID=1"], "Patient Root"),
        (["--study", "1.2"], "Study Root"),
        (["--study", "1.2", "-P"], "Patient Root"),
        (["-k", "PatientID=1", "-S"], "Study Root"),
        (["-k", "PatientID=1", "-S", "-O"], "Patient/Study Only"),
        (["-k", "PatientID=1", "--psonly"], "Patient/Study Only"),
    ],
)
def test_the_information_model(args: list[str], name: str) -> None:
    names: list[str] = []
    run(lambda found: names.append(chosen_model(found).name), *args)
    assert names == [name]


def test_the_syntaxes_of_requests() -> None:
    found: list[tuple[str, ...]] = []
    for flag in ("-x=", "-xi", "-xd", "-xb", "-xe"):
        run(lambda _: found.append(identifier_syntaxes()), flag)
    assert [len(syntaxes) for syntaxes in found] == [3, 1, 4, 3, 3]


def wanted(*args: object) -> list[Any]:
    found: list[Any] = []
    result = run(lambda options: found.extend(wants(options, Outcome(""))), *args)
    assert result.exit_code == 0, result.output
    return found


def test_keys_are_one_want_as_they_are() -> None:
    (want,) = wanted("-k", "0008,0052=STUDY", "-k", "StudyInstanceUID=1.2")
    assert (want.as_given, want.named) == (True, True)
    assert text(want.keys, STUDY) == "1.2"
    (want,) = wanted("-k", "StudyDate=20260101-")
    assert not want.named
    (want,) = wanted("-k", "PatientID=A*")
    assert not want.named


def test_keys_beside_names_hold_for_all(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("AccessionNumber\nA2\n")
    found = wanted("--accession", "A1", "--list", tmp_path / "list", "-k", "ModalitiesInStudy=CT")
    assert [text(want.keys, ACCESSION) for want in found] == ["A1", "A2"]
    assert {text(want.keys, 0x00080061) for want in found} == {"CT"}
    assert {text(want.keys, LEVEL) for want in found} == {"STUDY"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "nothing to retrieve is named"),
        (["query.dcm", "--study", "1.2"], "query files and named objects together"),
        (["--study", "1.2", "-k", "QueryRetrieveLevel=FRAME"], "'FRAME' is none of"),
        (["--study", "-k", "StudyInstanceUID=1.2"], "'-k' is not a UID"),
    ],
)
def test_what_makes_no_sense(args: list[str], sentence: str) -> None:
    result = run(lambda options: wants(options, Outcome("")), *args)
    assert result.exit_code in (1, 20)
    assert re.search(sentence, result.output)


def where(*args: object) -> Any:
    found: list[Any] = []

    def act(options: Given) -> None:
        with destination(options) as store:
            found.append(store)

    result = run(act, *args)
    assert result.exit_code == 0, result.output
    return found[0]


def test_a_folder_with_names_as_dcmtk_gives_them(tmp_path: Path) -> None:
    folder = where("-od", tmp_path / "new")
    assert isinstance(folder, Folder)
    assert folder.layout.template == "{Modality}.{SOPInstanceUID}"
    assert folder.settings.durability == "none"
    folder = where("-od", tmp_path / "new", "--layout", "{PatientID}/{SOPInstanceUID}", "--durability", "file")
    assert folder.layout.template == "{PatientID}/{SOPInstanceUID}"
    assert folder.settings.durability == "file"


def test_an_archive_that_is_named_or_there(tmp_path: Path) -> None:
    archive = where("--archive", tmp_path / "archive")
    assert isinstance(archive, Archive)
    assert archive.settings.durability == "full"
    assert isinstance(where("-od", tmp_path / "archive"), Archive)


def test_nowhere(tmp_path: Path) -> None:
    assert where("--ignore") is None


def test_what_only_an_archive_does(tmp_path: Path) -> None:
    def act(options: Given) -> None:
        with destination(options):
            raise AssertionError

    result = run(act, "-od", tmp_path, "--on-duplicate", "replace")
    assert result.exit_code == 1
    assert "needs an archive" in result.output


def test_options_are_clicks() -> None:
    assert {param.name for param in probe(print).params if isinstance(param, click.Option)} >= {"keys", "lists"}

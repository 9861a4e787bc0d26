"""Many files: what becomes of each, whoever takes it."""

from __future__ import annotations

import os
from pathlib import Path

from dcmkit.dataset.elements import Element
from dcmkit.deid.batch import FAILED, PRESENT, QUARANTINED, WRITTEN, Job, anonymize
from dcmkit.deid.output import Output
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Patient, Pseudonyms
from tests.deid.test_engine import IMAGE, file
from tests.deid.test_output import files

KEY = b"k" * 32


def job(directory: Path, profile: str = "basic", key: bytes = KEY, **how: bool) -> Job:
    return Job(Plan(parse(profile)), Pseudonyms(key), Output(str(directory)), **how)  # type: ignore[arg-type]


def inputs(directory: Path, count: int = 40) -> list[str]:
    directory.mkdir()
    paths = []
    for number in range(count):
        image = {**IMAGE, 0x00080018: Element("UI", f"1.2.3.{number // 2}"), 0x00200013: Element("IS", str(number % 3))}
        paths.append(str(file(directory / str(number), image)))
    return paths


def test_one_process_or_several_any_order_the_same_bytes(tmp_path: Path) -> None:
    paths = inputs(tmp_path / "in")
    first = list(anonymize(paths, job(tmp_path / "one")))
    assert {done.status for done in first} <= {WRITTEN, PRESENT}
    several = job(tmp_path / "several")
    done = list(anonymize(reversed(paths), several, workers=2))
    assert sorted(one.source for one in done) == sorted(paths)
    assert files(tmp_path / "one") == files(tmp_path / "several")
    assert len(files(tmp_path / "one")) == 40
    assert several.pseudonyms.record.uids["1.2.3.7"] == Pseudonyms(KEY).uid("1.2.3.7")
    list(anonymize(paths, job(tmp_path / "other", key=b"o" * 32)))
    mine, others = (set(" ".join(files(tmp_path / name)).replace("/", " ").split()) for name in ("one", "other"))
    assert not mine & others


def test_a_second_run_adds_only_what_is_missing(tmp_path: Path) -> None:
    paths = inputs(tmp_path / "in", 4)
    list(anonymize(paths[:2], job(tmp_path / "out")))
    before = files(tmp_path / "out")
    done = list(anonymize(paths, job(tmp_path / "out")))
    assert [one.status for one in done] == [PRESENT, PRESENT, WRITTEN, WRITTEN]
    assert before.items() <= files(tmp_path / "out").items()


def test_one_bad_file_stops_nothing(tmp_path: Path) -> None:
    paths = inputs(tmp_path / "in", 2)
    bad = tmp_path / "in" / "bad"
    bad.write_bytes(b"no image")
    done = list(anonymize([str(bad), str(tmp_path / "missing"), *paths], job(tmp_path / "out")))
    assert [one.status for one in done] == [QUARANTINED, QUARANTINED, WRITTEN, WRITTEN]
    assert all(one.reason for one in done[:2])


def test_what_still_holds_what_was_removed_is_not_written(tmp_path: Path) -> None:
    leaking = {**IMAGE, 0x00080070: Element("LO", "Smith^John & Sons")}
    path = str(file(tmp_path / "in", leaking))
    (done,) = anonymize([path], job(tmp_path / "out"))
    assert done.status == QUARANTINED
    assert "0008,0070" in done.reason
    assert "Smith" not in str(done._replace(source=""))
    assert files(tmp_path / "out") == {}
    assert [one.status for one in anonymize([path], job(tmp_path / "out", verify=False))] == [WRITTEN]


def test_words_of_the_trade_are_no_leak(tmp_path: Path) -> None:
    described = {**IMAGE, 0x00081030: Element("LO", "Brain-MRA"), 0x00201040: Element("LO", "Brain-MRA")}
    (done,) = anonymize([str(file(tmp_path / "in", described))], job(tmp_path / "out"))
    assert done.status == WRITTEN
    assert "coincidence: StudyDescription (0008,1030) in 0020,1040" in done.findings


def test_the_report_tells_every_action_and_its_rule(tmp_path: Path) -> None:
    nested = {**IMAGE, 0x00082218: Element("SQ", [{0x00081030: Element("LO", "Brain")}])}
    path = str(file(tmp_path / "in", nested))
    (done,) = anonymize([path], job(tmp_path / "out", "retain-full-dates", detailed=True))
    assert ("0008,2218[1].0008,1030", "X", "basic") in done.actions
    assert ("0010,0010", "Z", "basic") in done.actions
    assert not [path for path, _, _ in done.actions if path == "0008,0020"]


class Fatal(Pseudonyms):
    """Ends the process that asks for a certain patient's."""

    def patient(self, identity: str) -> Patient:
        if identity == "fatal":
            os._exit(1)
        return super().patient(identity)

    def __reduce__(self) -> tuple[object, ...]:
        return Fatal, (KEY,)


def test_a_worker_that_dies_takes_one_file_with_it(tmp_path: Path) -> None:
    paths = inputs(tmp_path / "in", 40)
    file(Path(paths[7]), {**IMAGE, 0x00100020: Element("LO", "fatal")})
    mortal = job(tmp_path / "out")._replace(pseudonyms=Fatal(KEY))
    done = {one.source: one.status for one in anonymize(paths, mortal, workers=2)}
    assert done.pop(paths[7]) == FAILED
    assert len(done) == 39
    assert FAILED not in done.values()

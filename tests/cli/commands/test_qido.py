"""qido as people run it, against servers that page, cap and ignore as they like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
from tests.web.dicomweb_peer import JSON, ROOT, Service, some
from tests.web.http_peer import Peer, Reply, Request, peer


def run(server: Peer, *args: object, path: str = ROOT) -> Result:
    words = ["qido", server.url + path, "--no-proxy", "--retry-delay", "0.01", *map(str, args)]
    return CliRunner().invoke(group, words)


def got(answer: Callable[[Request], Reply], *args: object, path: str = ROOT) -> tuple[Result, list[str]]:
    with peer(answer) as server:
        result = run(server, *args, path=path)
    return result, [request.path.removeprefix(ROOT) for request in server.requests]


SERVICE = Service([*some(25), *some(3, "1.2.2")])


@pytest.mark.parametrize(
    ("path", "args", "count", "asked"),
    [
        ("", [], 2, "/studies?"),
        ("/studies", [], 2, "/studies?"),
        ("/studies/1.2.1", [], 1, "/studies/1.2.1/series?"),
        ("/studies/1.2.1/instances", [], 25, "/studies/1.2.1/instances?"),
        ("", ["--level", "instance"], 28, "/instances?"),
        ("", ["--level", "image", "--study", "1.2.2"], 3, "/studies/1.2.2/instances?"),
        ("", ["--level", "series", "-k", "StudyInstanceUID=1.2.2"], 1, "/studies/1.2.2/series?"),
        ("", ["-k", "StudyInstanceUID=1.2.2"], 1, "/studies?"),
        ("/studies?0020000D=1.2.2&limit=7", [], 1, "/studies?"),
        ("", ["--level", "instance", "--limit", "26"], 26, "/instances?"),
    ],
)
def test_levels(path: str, args: list[str], count: int, asked: str) -> None:
    result, requests = got(SERVICE, *args, "--format", "jsonl", path=ROOT + path)
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == count
    assert requests[0].startswith(asked)


def test_keys_become_parameters() -> None:
    keys = ["PatientName=Doe^*", "0020,000D=1.2\\1.3", "StudyDate=20240101-", "PatientComments"]
    words = [word for key in keys for word in ("-k", key)]
    sequence = "RequestAttributesSequence[0].ScheduledProcedureStepID=a b&c"
    _, asked = got(SERVICE, *words, "-k", sequence, "--fuzzy", "--include", "StudyID,StationName")
    query = parse_qs(urlsplit(asked[0]).query)
    assert query["00100010"] == ["Doe^*"]
    assert query["0020000D"] == ["1.2,1.3"]
    assert query["00080020"] == ["20240101-"]
    assert query["00400275.00400009"] == ["a b&c"]
    assert query["includefield"] == ["00104000,00081010"]
    assert query["fuzzymatching"] == ["true"]


def test_formats(tmp_path: Path) -> None:
    for form in ("table", "json", "csv", "xml"):
        result, _ = got(SERVICE, "--format", form)
        assert result.exit_code == 0
        assert "1.2.2" in result.output
    (tmp_path / "query.json").write_text('[{"0020000D":{"vr":"UI","Value":["1.2.1"]}},{"0020000D":{"vr":"UI"}}]')
    result, _ = got(SERVICE, tmp_path / "query.json", "--format", "jsonl")
    assert len(result.output.splitlines()) == 3


def row(number: int) -> dict[str, object]:
    return {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}}


def reply(rows: list[dict[str, object]], *headers: tuple[str, str]) -> Reply:
    return Reply(200, json.dumps(rows).encode(), (*JSON, *headers))


ROWS = [row(number) for number in range(1, 251)]


def pages(
    request: Request, *, cap: int = 1000, last: Reply | None = None, ignores: str = ""
) -> list[dict[str, object]]:
    query = {
        name: int(values[0])
        for name, values in parse_qs(urlsplit(request.path).query).items()
        if name in ("limit", "offset")
    }
    offset = 0 if "offset" in ignores else query.get("offset", 0)
    limit = len(ROWS) if "limit" in ignores else min(cap, query.get("limit", len(ROWS)))
    return ROWS[offset : offset + limit]


def small_pages_only(request: Request) -> Reply:
    return Reply(400) if "limit=1000" in request.path else reply(pages(request))


SERVERS: dict[str, Callable[[Request], Reply]] = {
    "honest": lambda r: reply(pages(r)),
    "caps silently": lambda r: reply(pages(r, cap=100)),
    "caps with a warning": lambda r: reply(pages(r, cap=7), ("Warning", '299 x "There are 9 additional results"')),
    "204 at the end": lambda r: reply(pages(r, cap=50)) if pages(r, cap=50) else Reply(204),
    "counts": lambda r: reply(pages(r, cap=50), ("X-Total-Count", "250")),
    "ignores offset": lambda r: reply(pages(r, ignores="offset")),
    "ignores limit": lambda r: reply(pages(r, ignores="limit")),
    "ignores both": lambda r: reply(pages(r, ignores="limit offset")),
    "refuses large pages": small_pages_only,
    "says nothing at the end": lambda r: reply(pages(r, cap=50)) if pages(r, cap=50) else Reply(200),
}  # fmt: skip


@pytest.mark.parametrize("server", SERVERS)
def test_all_pages_come_once(server: str) -> None:
    result, asked = got(SERVERS[server], "--format", "csv", "-k", "StudyInstanceUID")
    assert result.exit_code == 0
    assert sorted(result.output.splitlines()[1:]) == sorted(f"1.2.{number}" for number in range(1, 251))
    assert len(asked) < 45
    if server == "counts":
        assert len(asked) == 5


def test_a_server_that_gives_the_same_page_for_ever() -> None:
    result, asked = got(lambda r: reply(ROWS[:100]), "--format", "csv", "-k", "StudyInstanceUID")
    assert result.exit_code == 0
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [Reply(200, b"[]", JSON), Reply(204), Reply(200)])
def test_no_match(answer: Reply) -> None:
    result, asked = got(lambda r: answer, "--format", "json")
    assert (result.exit_code, result.output) == (0, "[]\n")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(404), ExitCode.REQUEST_FAILED),
        (Reply(401), ExitCode.REQUEST_FAILED),
        (Reply(200, b"<html>", (("Content-Type", "text/html"),)), None),
        (Reply(200, b"[" * 100_000), None),
        (Reply(200, b'"text"'), None),
        (Reply(200, b"[1, 2]"), ExitCode.NOTHING_DONE),
        (Reply(200, b'[{"x": 1}]'), ExitCode.NOTHING_DONE),
        (Reply(302, headers=(("Location", "http://127.0.0.2:1/"),)), ExitCode.REQUEST_FAILED),
    ],
)
def test_what_is_no_answer(answer: Reply, code: ExitCode | None) -> None:
    result, _ = got(lambda r: answer)
    assert result.exit_code == code if code is not None else result.exit_code not in (0, ExitCode.INTERNAL_ERROR)


def test_bad_attributes_spoil_no_answer() -> None:
    found = {**row(1), "00080020": {"vr": "DA", "Value": [{"a": 1}]}, "00080030": {"vr": "ZZ"}}
    result, _ = got(lambda r: reply([found]), "--format", "csv", "-k", "StudyInstanceUID", "-k", "StudyDate")
    assert (result.exit_code, result.output.splitlines()[1]) == (0, "1.2.1,")


def test_text_from_the_server_is_escaped() -> None:
    found = {**row(1), "00100010": {"vr": "PN", "Value": [{"Alphabetic": "\x1b[2Jx"}]}}
    result, _ = got(lambda r: reply([found]))
    assert "\x1b" not in result.output


def test_busy_then_well() -> None:
    left = [Reply(503, headers=(("Retry-After", "0"),))]
    result, asked = got(lambda r: left.pop() if left else reply(ROWS[:1]))
    assert (result.exit_code, len(asked)) == (0, 2)


def test_one_query_that_fails_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text('[{"00100020":{"vr":"LO","Value":["a"]}},{"00100020":{"vr":"LO","Value":["b"]}}]')
    result, _ = got(lambda r: Reply(400) if "=a" in r.path else reply(ROWS[:1]), tmp_path / "q.json")
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "400" in result.output


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (ROOT, ["-k", "Nonsense=1"]),
        (ROOT + "/studies", ["--level", "series"]),
        (ROOT + "/studies/1.2/metadata", []),
        (ROOT + "/studies/x/series", []),
    ],
)
def test_bad_usage(path: str, words: list[str]) -> None:
    result, asked = got(SERVICE, *words, path=path)
    assert (result.exit_code, asked) == (ExitCode.BAD_USAGE, []), result.output

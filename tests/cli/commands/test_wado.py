"""wado as people run it, against a server in all its moods."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcmkit.archive.store import Archive
from dcmkit.cli.group import group
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import ExitCode
from dcmkit.settings import ArchiveSettings
from tests.web.dicomweb_peer import CT, ROOT, Held, Service, multipart, some
from tests.web.http_peer import Peer, Reply, Request, peer

OBJECTS = [*some(3), *some(2, "1.2.2"), *some(1, "1.2.2", "1.2.2.9")]
Mood = Callable[[Request], Reply | None]


def run(server: Peer, *args: object) -> Result:
    words = ["wado", server.url + ROOT, "--no-proxy", "--retry-delay", "0.01", *map(str, args)]
    return CliRunner().invoke(group, words)


def got(*args: object, objects: list[Held] = OBJECTS, before: Mood | None = None) -> tuple[Result, list[str]]:
    with peer(Service(objects, before)) as server:
        result = run(server, *args)
    return result, [request.path.removeprefix(ROOT) for request in server.requests]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def data_set(content: bytes | Path) -> bytes:
    content = content if isinstance(content, bytes) else content.read_bytes()
    return content[content.index(b"ORIGINAL") :]


def test_a_study_into_a_folder(tmp_path: Path) -> None:
    result, asked = got("--study", "1.2.1", "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path) == ["CT.1.2.1.1.1", "CT.1.2.1.1.2", "CT.1.2.1.1.3"]
    assert asked[-1] == "/studies/1.2.1"
    for one in OBJECTS[:3]:
        assert data_set(tmp_path / f"CT.{one.uid}") == data_set(one.content)


def test_what_is_asked_for(tmp_path: Path) -> None:
    with peer(Service(OBJECTS)) as server:
        run(server, "--study", "1.2.1", "--transfer-syntax", "JPEGLSLossless", "-od", tmp_path)
    accept = server.requests[-1].headers["accept"]
    assert accept == 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80'


def test_into_an_archive_and_again(tmp_path: Path) -> None:
    words = ["--accession", "A-1", "--archive", tmp_path / "a", "--durability", "none"]
    result, _ = got(*words)
    assert (result.exit_code, result.output) == (0, "")
    with Archive(ArchiveSettings(output_directory=str(tmp_path / "a"))) as archive:
        assert len(archive.index.find("1.2.2.9.1")) == 1
    result, asked = got(*words)
    assert result.exit_code == 0
    assert not [path for path in asked if "?" not in path]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--series", "1.2.2.9"], 1),
        (["--study", "1.2.2", "--series", "1.2.2.1"], 2),
        (["--instance", "1.2.1.1.2"], 1),
        (["studies/1.2.2"], 3),
        (["studies/1.2.2/series/1.2.2.9/instances/1.2.2.9.1", "--study", "1.2.1"], 4),
        (["-k", "StudyInstanceUID=1.2.2"], 3),
        (["-k", "AccessionNumber=A-1", "--jobs", "4"], 6),
        (["--study", "1.2.2", "--jobs", "3"], 3),
    ],
)
def test_ways_to_name_what_is_wanted(tmp_path: Path, words: list[str], count: int) -> None:
    result, _ = got(*words, "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert len(names(tmp_path)) == count


@pytest.mark.parametrize(
    "text", ["1.2.1\n1.2.2\n", "StudyInstanceUID\n1.2.1\n1.2.2\n", "/studies/1.2.1\n/studies/1.2.2\n"]
)
def test_lists(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text)
    result, _ = got("--list", tmp_path / "list", "-od", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert len(names(tmp_path / "out")) == 6


def test_other_servers_are_not_asked(tmp_path: Path) -> None:
    result, asked = got("http://127.0.0.2:1/dicom-web/studies/1.2.1", "-od", tmp_path)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert asked == []


@pytest.mark.parametrize("words", [["--study", "9.9"], ["--accession", "X"], ["--series", "9.9.9"]])
def test_nothing_of_what_was_named(tmp_path: Path, words: list[str]) -> None:
    result, _ = got(*words, "-od", tmp_path)
    assert result.exit_code in (ExitCode.NOTHING_DONE, ExitCode.REQUEST_FAILED)
    assert words[1] in result.output


# --- servers that misbehave -----------------------------------------------------------------------------------------


def whole(request: Request) -> bool:
    """Whether a whole study is asked for."""
    return request.path == f"{ROOT}/studies/1.2.1"


def cut(reply: Reply, count: int) -> Reply:
    """Cut off without a word, as far as lengths say."""
    return reply._replace(body=reply.body[:count])


ALL = multipart(one.content for one in OBJECTS[:3])
WRONG = {
    "cut off": cut(ALL, len(ALL.body) // 2),
    "another boundary": ALL._replace(headers=(("Content-Type", "multipart/related; boundary=other"),)),
    "no boundary": ALL._replace(headers=(("Content-Type", "multipart/related"),)),
    "a web page": Reply(200, b"<html>", (("Content-Type", "text/html"),)),
    "JSON": Reply(200, b"[]", (("Content-Type", "application/dicom+json"),)),
    "not all of it": multipart([OBJECTS[0].content])._replace(status=206),
    "an answer too few": multipart(one.content for one in OBJECTS[:2]),
    "nothing": Reply(204),
    "one that is none": multipart([OBJECTS[0].content, b"no object " * 20, OBJECTS[1].content]),
    "one that is short": multipart([OBJECTS[0].content, OBJECTS[1].content[:-3]]),
    "too much": Reply(413),
    "a defect": Reply(500),
}


@pytest.mark.parametrize("mood", WRONG)
def test_what_a_study_lacks_is_asked_for_by_itself(tmp_path: Path, mood: str) -> None:
    result, asked = got("--study", "1.2.1", "-od", tmp_path, before=lambda r: WRONG[mood] if whole(r) else None)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == ["CT.1.2.1.1.1", "CT.1.2.1.1.2", "CT.1.2.1.1.3"]
    assert [path for path in asked if path.startswith("/studies/1.2.1/series/1.2.1.1/instances/")]
    for one in OBJECTS[:3]:
        assert data_set(tmp_path / f"CT.{one.uid}") == data_set(one.content)


def test_what_does_not_come_at_all_is_named(tmp_path: Path) -> None:
    def before(request: Request) -> Reply | None:
        if whole(request):
            return multipart([OBJECTS[0].content])
        return Reply(410) if request.path.endswith("/instances/1.2.1.1.2") else None

    result, _ = got("--study", "1.2.1", "-od", tmp_path, "--report", tmp_path / "report", before=before)
    assert result.exit_code == ExitCode.MOVE_WARNING
    assert "1 of 3 instances did not come: 1.2.1.1.2" in result.output
    rows = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert rows[-1]["missing_uids"] == ["1.2.1.1.2"]
    assert rows[-1]["complete"] is False


@pytest.mark.parametrize(
    ("status", "code"),
    [(410, ExitCode.REQUEST_FAILED), (401, ExitCode.REQUEST_FAILED), (403, ExitCode.REQUEST_FAILED)],
)
def test_refusals(tmp_path: Path, status: int, code: ExitCode) -> None:
    result, asked = got("--study", "1.2.1", "-od", tmp_path, before=lambda r: Reply(status))
    assert result.exit_code == code
    assert str(status) in result.output
    assert len(asked) <= 2


def test_a_busy_server_is_waited_for(tmp_path: Path) -> None:
    left = [Reply(503, headers=(("Retry-After", "0"),)), Reply(429, headers=(("Retry-After", "0"),))]
    result, asked = got("--study", "1.2.1", "-od", tmp_path, before=lambda r: left.pop() if left and whole(r) else None)
    assert result.exit_code == 0
    assert asked.count("/studies/1.2.1") == 3


def test_redirects(tmp_path: Path) -> None:
    def before(request: Request) -> Reply | None:
        return Reply(302, headers=(("Location", f"{ROOT}/studies/1.2.1?moved=1"),)) if whole(request) else None

    result, asked = got("--study", "1.2.1", "-od", tmp_path, before=before)
    assert result.exit_code == 0
    assert "/studies/1.2.1?moved=1" in asked


def test_redirects_to_others_are_not_followed(tmp_path: Path) -> None:
    elsewhere = Reply(302, headers=(("Location", "http://127.0.0.2:1/x"),))
    result, _ = got("--study", "1.2.1", "-od", tmp_path, before=lambda r: elsewhere)
    assert result.exit_code != 0
    assert "another place" in result.output


def test_a_server_that_hangs_up_is_given_up(tmp_path: Path) -> None:
    many = some(40)
    mood: Mood = lambda r: None if "?" in r.path else Reply(hang_up=True)  # noqa: E731
    result, asked = got("--study", "1.2.1", "--retries", "0", "-od", tmp_path, objects=many, before=mood)
    assert result.exit_code != 0
    assert len(asked) < 15


def test_a_server_that_cannot_search(tmp_path: Path) -> None:
    result, _ = got("--study", "1.2.1", "-od", tmp_path, before=lambda r: Reply(501) if "?" in r.path else None)
    assert result.exit_code == 0
    assert len(names(tmp_path)) == 3


def test_406_and_other_forms(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, one in enumerate(OBJECTS[:3]):
            archive.writestr(f"../../{number}", one.content)
        archive.writestr("DICOMDIR", b"x")

    def before(request: Request) -> Reply | None:
        if not whole(request):
            return None
        if "zip" not in request.headers["accept"]:
            return Reply(406)
        return Reply(200, content.getvalue(), (("Content-Type", "application/zip"),))

    result, _ = got("--study", "1.2.1", "-od", tmp_path / "out", before=before)
    assert (result.exit_code, result.output) == (0, "")
    assert len(names(tmp_path / "out")) == 3
    assert names(tmp_path) == ["etc", "out", "xdg"] or names(tmp_path) == ["out"]


def test_zip_bombs(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * (80 << 20))
    bomb = Reply(200, content.getvalue(), (("Content-Type", "application/zip"),))
    result, _ = got("--study", "1.2.1", "-od", tmp_path, before=lambda r: bomb if "?" not in r.path else None)
    assert result.exit_code != 0
    assert names(tmp_path) == [] or names(tmp_path) == ["etc", "xdg"]


# --- again ------------------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_retrieved_again(tmp_path: Path) -> None:
    got("--instance", "1.2.1.1.2", "-od", tmp_path)
    result, asked = got("--study", "1.2.1", "-od", tmp_path)
    assert result.exit_code == 0
    assert [path for path in asked if "?" not in path] == [
        f"/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.{number}" for number in (1, 3)
    ]
    _, asked = got("--study", "1.2.1", "-od", tmp_path)
    assert len(asked) == 1
    _, asked = got("--study", "1.2.1", "-od", tmp_path, "--again")
    assert "/studies/1.2.1" in asked


def test_a_file_that_is_another_is_no_instance(tmp_path: Path) -> None:
    (tmp_path / "CT.1.2.1.1.2").write_bytes(OBJECTS[0].content)
    result, _ = got("--study", "1.2.1", "-od", tmp_path)
    assert result.exit_code == 0
    assert "1.2.1.1.2" in [read_file_header(path).sop_instance_uid for path in tmp_path.glob("CT.*~2*")]


def test_a_journal(tmp_path: Path) -> None:
    words = ["--study", "1.2.1", "--journal", tmp_path / "journal", "--ignore"]
    mood: Mood = lambda r: cut(ALL, len(ALL.body) // 2) if whole(r) else Reply(404) if "?" not in r.path else None  # noqa: E731
    service = Service(OBJECTS, mood)
    with peer(service) as server:
        assert run(server, *words).exit_code == ExitCode.MOVE_WARNING
        service.before = None
        server.requests.clear()
        assert run(server, *words).exit_code == 0
        asked = [request.path.removeprefix(ROOT) for request in server.requests]
        assert "/studies/1.2.1" not in asked
        assert "/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1" not in asked
        server.requests.clear()
        assert run(server, *words).exit_code == 0
        assert server.requests == []


# --- other things -----------------------------------------------------------------------------------------------------


def test_metadata(tmp_path: Path) -> None:
    result, _ = got("--study", "1.2.1", "--metadata", "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert len(json.loads((tmp_path / "1.2.1.json").read_bytes())) == 3


def test_frames(tmp_path: Path) -> None:
    result, asked = got("--series", "1.2.2.9", "--frames", "1,3-4", "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path)[:3] == ["1.2.2.9.1.0001.bin", "1.2.2.9.1.0003.bin", "1.2.2.9.1.0004.bin"]
    assert (tmp_path / "1.2.2.9.1.0003.bin").read_bytes() == b"frame 3"
    _, asked = got("--series", "1.2.2.9", "--frames", "1,3-4", "-od", tmp_path)
    assert not [path for path in asked if "/frames" in path]


def test_frames_that_do_not_all_come(tmp_path: Path) -> None:
    few = multipart([b"1"], "application/octet-stream")
    words = ["--series", "1.2.2.9", "--frames", "1,2", "-od", tmp_path / "out"]
    result, _ = got(*words, before=lambda r: few if "/frames" in r.path else None)
    assert result.exit_code != 0
    assert names(tmp_path / "out") == []
    assert not list((tmp_path / "out").iterdir())


def test_rendered_and_thumbnails(tmp_path: Path) -> None:
    words = ["--study", "1.2.1", "--parameter", "viewport=512,512", "-od", tmp_path / "out"]
    result, asked = got(*words, "--rendered")
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path / "out") == [f"1.2.1.1.{number}.jpg" for number in (1, 2, 3)]
    assert asked[-1].endswith("/instances/1.2.1.1.3/rendered?viewport=512,512")
    result, _ = got("--study", "1.2.1", "--thumbnail", "-od", tmp_path / "out")
    assert "1.2.1.thumbnail.jpg" in names(tmp_path / "out")
    result, _ = got("studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1/frames/1/rendered", "-od", tmp_path / "one")
    assert (result.exit_code, names(tmp_path / "one")) == (0, ["1.2.1.1.1.0001.jpg"])


def test_a_page_is_no_image(tmp_path: Path) -> None:
    page = Reply(200, b"{}", (("Content-Type", "application/json"),))
    words = [
        "--instance",
        "1.2.1.1.1",
        "--study",
        "1.2.1",
        "--series",
        "1.2.1.1",
        "--rendered",
        "-od",
        tmp_path / "out",
    ]
    result, _ = got(*words, before=lambda r: page if "rendered" in r.path else None)
    assert result.exit_code != 0
    assert names(tmp_path / "out") == []


def test_zip_as_it_is(tmp_path: Path) -> None:
    answer = Reply(200, b"PK", (("Content-Type", "application/zip"),))
    result, _ = got("--study", "1.2.1", "--zip", "-od", tmp_path / "out", before=lambda r: answer if whole(r) else None)
    assert (result.exit_code, names(tmp_path / "out")) == (0, ["1.2.1.zip"])


def test_wado_uri(tmp_path: Path) -> None:
    result, asked = got("--study", "1.2.1", "--uri", "/wado", "-od", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert len(names(tmp_path / "out")) == 3
    assert asked[-1].startswith("/wado?requestType=WADO&studyUID=1.2.1&seriesUID=1.2.1.1&objectUID=1.2.1.1.3")


@pytest.mark.parametrize(
    ("uri", "is_well"), [("bulk/1", True), ("/elsewhere/1", True), ("http://127.0.0.2:1/x", False), ("ftp://x/", False)]
)
def test_bulk_data(tmp_path: Path, uri: str, is_well: bool) -> None:
    row = {"00420011": {"vr": "OB", "BulkDataURI": uri}, "00080018": {"vr": "UI", "Value": ["1.2.1.1.1"]}}
    row["00081199"] = {"vr": "SQ", "Value": [{"7FE00010": {"vr": "OW", "BulkDataURI": uri}}]}  # type: ignore[dict-item]

    def before(request: Request) -> Reply | None:
        if request.path.endswith("/metadata"):
            return Reply(200, json.dumps([row]).encode(), (("Content-Type", "application/dicom+json"),))
        if request.path.endswith("/1"):
            return Reply(200, b"bytes", (("Content-Type", "application/octet-stream"),))
        return None

    one = ["--study", "1.2.1", "--series", "1.2.1.1", "--instance", "1.2.1.1.1"]
    result, _ = got(*one, "--bulkdata", "-od", tmp_path / "out", before=before)
    assert (result.exit_code == 0) is is_well, result.output
    wanted = ["1.2.1.1.1.00081199.1.7FE00010.bin", "1.2.1.1.1.00420011.bin"]
    assert names(tmp_path / "out") == (wanted if is_well else [])


def test_bulk_data_in_frames(tmp_path: Path) -> None:
    row = {"7FE00010": {"vr": "OB", "BulkDataURI": "bulk/1"}}

    def before(request: Request) -> Reply | None:
        if request.path.endswith("/metadata"):
            return Reply(200, json.dumps([row]).encode(), (("Content-Type", "application/dicom+json"),))
        return multipart([b"a", b"b"], "image/jls") if request.path.endswith("/1") else None

    one = ["--study", "1.2.1", "--series", "1.2.1.1", "--instance", "1.2.1.1.1"]
    result, _ = got(*one, "--bulkdata", "-od", tmp_path / "out", before=before)
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path / "out") == [f"1.2.1.1.1.7FE00010.000{number}.jls" for number in (1, 2)]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--study", "x"],
        ["--study", "1.2", "--metadata", "--rendered"],
        ["--study", "1.2", "--frames", "0"],
        ["--study", "1.2", "--frames", "1,a"],
        ["--study", "1.2", "--metadata", "--ignore"],
        ["--study", "1.2", "--transfer-syntax", "nonsense"],
        ["--study", "1.2", "--rendered", "--parameter", "x"],
        ["studies"],
        ["studies/1.2/nonsense"],
        ["studies/../../etc"],
    ],
)
def test_bad_usage(words: list[str]) -> None:
    result, asked = got(*words)
    assert (result.exit_code, asked) == (ExitCode.BAD_USAGE, []), result.output


def test_names_from_the_server_are_no_paths(tmp_path: Path) -> None:
    rows = [{"00080018": {"vr": "UI", "Value": ["../../x"]}, "0020000E": {"vr": "UI", "Value": ["1.2"]}}]
    answer = Reply(200, json.dumps(rows).encode(), (("Content-Type", "application/dicom+json"),))
    result, asked = got(
        "--study", "1.2.1", "--rendered", "-od", tmp_path / "out", before=lambda r: answer if "?" in r.path else None
    )
    assert result.exit_code != 0
    assert not [path for path in asked if ".." in path]
    assert CT in OBJECTS[0].content.decode("latin-1")

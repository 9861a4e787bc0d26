"""dcmkit stow against a scripted server: what is sent, said, reported, returned, and taken up again."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
from dcmkit.web.http_auth import basic
from tests.web.http_peer import Reply, Request, peer
from tests.web.test_stow_client import answer, everything, files, refusing, uid_of, uids


def run(*args: object, **how: Any) -> Result:
    return CliRunner().invoke(group, ["stow", *map(str, args), "--no-proxy"], **how)


def arrived(requests: list[Request]) -> list[str]:
    return sorted(uid for request in requests for uid in uids(request))


def report_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_with_folders_in_it(tmp_path: Path) -> None:
    paths = [path for name in ("a", "b/c") for path in files_below(tmp_path / name, 3)]
    (tmp_path / "DICOMDIR").write_bytes(b"")
    with peer(everything) as server:
        result = run(server.url + "/dicom-web", tmp_path, "--batch", 4, "--jobs", 2)
    assert (result.exit_code, result.output) == (0, "")
    assert arrived(server.requests) == sorted(map(uid_of, paths))
    assert {request.path for request in server.requests} == {"/dicom-web/studies"}
    assert all(int(request.headers["content-length"]) == len(request.body) for request in server.requests)
    with peer(everything) as server:
        assert run(server.url, tmp_path, "--no-recurse").exit_code == ExitCode.NO_INPUT_FILES
        assert run(server.url, tmp_path, "--scan-pattern", "*.none").exit_code == ExitCode.NO_INPUT_FILES
    assert server.requests == []


def files_below(directory: Path, number: int) -> list[str]:
    directory.mkdir(parents=True, exist_ok=True)
    return files(directory, number)


def test_batches_by_bytes(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)
    with peer(everything) as server:
        assert run(server.url, *paths, "--batch-bytes", 2 * os.path.getsize(paths[0]) + 20).exit_code == 0
        assert len(server.requests) == 2
        assert run(server.url, *paths, "--batch-bytes", "0").exit_code == 0
        assert len(server.requests) == 3
    result = run(server.url, *paths, "--batch-bytes", "much")
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "option --batch-bytes" in result.output


def test_some_fail(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    text = tmp_path / "text"
    text.write_text("no DICOM " * 100)
    names = [uid_of(path) for path in paths]
    body = answer([names[0]], {names[1]: 0xA700, names[2]: 0x0122})
    report = tmp_path / "report.jsonl"
    with peer([Reply(202, body)]) as server:
        result = run(server.url, text, *paths, tmp_path / "none", "--report", report)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert f"{paths[1]}: refused with status 0xA700: refused, out of resources (A700H)" in result.output
    assert "not supported" in result.output
    assert f"{text}: the file is not a DICOM file" in result.output
    assert {row["file"]: row["status"] for row in report_of(report)} == {
        str(text): None, paths[0]: "0000", paths[1]: "A700", paths[2]: "0122", str(tmp_path / "none"): None,
    }  # fmt: skip


def test_a_server_that_refuses_in_words(tmp_path: Path) -> None:
    paths = files(tmp_path, 5)
    report = tmp_path / "report.jsonl"
    with peer(refusing([uid_of(paths[2])], 409, b"no such patient\x1b[2J")) as server:
        result = run(server.url, *paths, "--report", report)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "no such patient" in result.output
    assert "\x1b" not in result.output
    assert [row.get("http_status") for row in report_of(report) if row["status"] is None] == [409]
    assert len(report_of(report)) == 5


def test_none(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    with peer([Reply(409, answer([], {uid_of(path): 0xC000 for path in paths}))]) as server:
        assert run(server.url, *paths).exit_code == ExitCode.NOTHING_DONE
    (tmp_path / "text").write_text("no DICOM " * 100)
    with peer(everything) as server:
        assert run(server.url, tmp_path / "text", tmp_path / "none").exit_code == ExitCode.NO_VALID_INPUT_FILES
        assert run(server.url).exit_code == ExitCode.NO_INPUT_FILES
    assert server.requests == []


def test_a_study(tmp_path: Path) -> None:
    paths = files(tmp_path, 1)
    with peer(everything) as server:
        assert run(server.url + "/x", *paths, "--study", "1.2.3").exit_code == 0
        assert run(server.url + "/x/studies/1.2.3", *paths).exit_code == 0
        assert run(server.url + "/x/studies/", *paths).exit_code == 0
        assert run(server.url + "/x?key=1", *paths).exit_code == 0
    assert [request.path for request in server.requests] == [
        "/x/studies/1.2.3", "/x/studies/1.2.3", "/x/studies", "/x/studies?key=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "args", "message"),
    [
        ("http://h/studies/1.2/series/3", (), "service or a study"),
        ("http://h/studies/1.2", ("--study", "1.3"), "another one"),
        ("http://h", ("--study", "x"), "not a UID"),
        ("h", (), "no URL"),
        ("@nowhere", (), "no node"),
        ("http://h", ("--header", "s3cret"), "no header"),
        ("http://h", ("-", "--file-list", "-"), "stdin is named twice"),
    ],
)
def test_bad_usage(tmp_path: Path, url: str, args: tuple[str, ...], message: str) -> None:
    result = run(url, tmp_path, *args)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert message in result.output
    assert "s3cret" not in result.output


def test_lists(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    (tmp_path / "list").write_text(f"{paths[0]}\n{paths[1]}\n")
    with peer(everything) as server:
        assert run(server.url, "--file-list", tmp_path / "list").exit_code == 0
        assert run(server.url, "-", input=f"{paths[2]}\0").exit_code == 0
        assert run(server.url, f"@{tmp_path / 'list'}").exit_code == 0
        result = run(server.url, paths[0], "--file-list", tmp_path / "none")
    assert arrived(server.requests) == sorted(map(uid_of, [paths[0]] * 3 + [paths[1]] * 2 + [paths[2]]))
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert f"{tmp_path / 'none'}: cannot be read" in result.output


def test_a_journal(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)
    journal, report = tmp_path / "journal", tmp_path / "report"
    with peer(refusing([uid_of(paths[3])], 409)) as server:
        assert run(server.url, *paths, "--journal", journal).exit_code == ExitCode.PARTLY_DONE
        server.answer = everything
        server.requests.clear()
        changed = os.stat(paths[1])
        os.utime(paths[1], ns=(changed.st_atime_ns, changed.st_mtime_ns + 10**9))
        assert run(server.url, *paths, "--journal", journal, "--report", report).exit_code == 0
        assert arrived(server.requests) == sorted([uid_of(paths[1]), uid_of(paths[3])])
        assert run(server.url, *paths, "--journal", journal).exit_code == 0
        assert len(server.requests) == 1
        assert run(server.url, *paths, "--journal", journal, "--study", "1.2").exit_code == 0
        assert len(server.requests) == 2
    assert len(report_of(report)) == 4


def test_a_server_that_does_not_want_us(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    report = tmp_path / "report"
    with peer([Reply(401)]) as server:
        result = run(server.url, *paths, "--bearer", "s3cret", "--report", report, "-v")
    assert result.exit_code == ExitCode.REQUEST_FAILED
    assert "401" in result.output
    assert "s3cret" not in result.output
    assert [row["comment"][:9] for row in report_of(report)] == ["not sent:"] * 3
    moods = [Reply(200, answer([uid_of(paths[0])])), Reply(403)]
    with peer(moods) as server:
        result = run(server.url, *paths, "--batch", 1)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "403" in result.output


def test_nobody_there(tmp_path: Path) -> None:
    with peer(everything) as server:
        pass
    result = run(server.url, *files(tmp_path, 2), "--retries", 1, "--retry-delay", 0)
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED
    assert "cannot be reached" in result.output


def test_busy_for_a_while(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    busy = [Reply(503, b"", (("Retry-After", "0"),)), Reply(hang_up=True)]
    with peer([*busy, Reply(200, answer(list(map(uid_of, paths))))]) as server:
        assert run(server.url, *paths, "--retry-delay", 0).exit_code == 0
        assert len(server.requests) == 3
    with peer([*busy, Reply(200)]) as server:
        assert run(server.url, *paths, "--retries", 0).exit_code == ExitCode.REQUEST_FAILED
        assert len(server.requests) == 1


def test_too_large(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)
    size = os.path.getsize(paths[0])

    def handle(request: Request) -> Reply:
        return Reply(413) if len(request.body) > 2.5 * size else everything(request)

    with peer(handle) as server:
        assert run(server.url, *paths).exit_code == 0
    assert [len(uids(request)) for request in server.requests] == [4, 2, 2]


def test_a_token_is_asked_for_again(tmp_path: Path) -> None:
    paths = files(tmp_path, 1)
    script = tmp_path / "token"
    script.write_text(f"import pathlib; p = pathlib.Path({str(tmp_path / 'n')!r}); p.open('a').write('x'); "
                      "print('t' + str(len(p.read_text())))")  # fmt: skip

    def handle(request: Request) -> Reply:
        return everything(request) if request.headers["authorization"] == "Bearer t2" else Reply(401)

    with peer(handle) as server:
        assert run(server.url, *paths, "--bearer-cmd", f"{sys.executable} {script}").exit_code == 0


def test_a_node(tmp_path: Path) -> None:
    paths = files(tmp_path, 1)
    with peer(everything) as server:
        config = tmp_path / "config.toml"
        config.write_text(f"[nodes.r]\nurl = '{server.url}/x'\nuser = 'jane'\npassword = 'word'\nheader = 'X-A: b'\n")
        assert run("@r", *paths, "--config", config).exit_code == 0
    (request,) = server.requests
    assert (request.path, request.headers["x-a"]) == ("/x/studies", "b")
    assert request.headers["authorization"] == basic("jane", "word")


def test_tls(tmp_path: Path) -> None:
    """In a process of its own, where nobody has imported `ssl` before."""
    if not which("openssl"):
        pytest.skip("no openssl")
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    words = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=peer")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run([*words, *names], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    paths = files(tmp_path, 5)

    def apart(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "dcmkit", "stow", server.url, *paths, "--no-proxy", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    with peer(everything, context) as server:
        assert apart("--cacert", certificate, "--jobs", "2", "--batch", "1") == (0, "")
        assert arrived(server.requests) == sorted(map(uid_of, paths))
        code, said = apart("--insecure")
        assert (code, "is not checked" in said) == (0, True)
        code, said = apart("--retries", "100")
        assert (code, "is not trusted" in said) == (61, True)


def test_what_a_start_imports_and_takes() -> None:
    code = "import sys, dcmkit.cli.commands.stow, dcmkit.web.stow_jobs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert not loaded & {"pydicom", "numpy", "pynetdicom", "rich", "sqlite3", "asyncio", "requests", "httpx"}


def test_a_killed_run_is_taken_up_again(tmp_path: Path) -> None:
    paths = files(tmp_path, 6)
    journal = tmp_path / "journal"

    def handle(request: Request) -> Reply:
        if len(server.requests) == 3:
            process.kill()
            return Reply(hang_up=True)
        return everything(request)

    with peer(handle) as server:
        command = [
            sys.executable,
            "-m",
            "dcmkit",
            "stow",
            server.url,
            *paths,
            "--batch",
            "1",
            "--journal",
            str(journal),
        ]
        process = subprocess.Popen(command, env={**os.environ, "no_proxy": "*"})
        process.wait(60)
        server.answer = everything
        before = len(server.requests)
        assert run(server.url, *paths, "--journal", journal).exit_code == 0
        assert arrived(server.requests[before:]) == sorted(map(uid_of, paths[2:]))

"""Any request that the OpenAPI document allows, and some it does not, against `dcmkit web`: never a 500."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("schemathesis")

from .process import run
from .web_peers import dcmkit_web, make_pictures

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

CONFIGURATION = """
[parameters]
"path.study" = "{0.study}"
"path.series" = "{0.series}"
"path.instance" = "{0.instance}"
"""
OPTIONS = (
    "--phases", "coverage,fuzzing", "--checks", "not_a_server_error", "--mode", "all", "--continue-on-failure",
    "--request-timeout", "20", "--no-color", "--generation-deterministic", "--suppress-health-check", "all",
)  # fmt: skip


@pytest.mark.parametrize(
    ("known", "examples", "words"),
    [
        (True, 8, ("--exclude-tag", "Delete")),
        (False, 4, ()),
    ],
    ids=["of an image", "of anything"],
)
def test_no_request_fails_in_the_server(tmp_path: Path, known: bool, examples: int, words: tuple[str, ...]) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(pictures[4]) if known else "")
    program = Path(sys.executable).parent / "schemathesis"
    with dcmkit_web(tmp_path / "web") as server:
        for picture in pictures:
            body = picture.path.read_bytes()
            assert server.ask("POST", "/studies", body, {"Content-Type": "application/dicom"}).status == 200
        command: list[str | os.PathLike[str]] = [
            program, "--config-file", configuration, "run", f"{server.url}/openapi.json",
            "--max-examples", str(examples), *OPTIONS, *words,
        ]  # fmt: skip
        done = run(command, timeout=240)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        tested = re.search(r"Tested: ([0-9]+)", done.stdout)
        assert tested is not None
        assert int(tested[1]) > 40
        assert server.ask("GET", "/health").status == 200
        log = server.server.log_text()
    assert " failed: " not in log, log[-4000:]
    assert "Traceback" not in log

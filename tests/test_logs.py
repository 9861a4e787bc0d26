"""Levels, formats, and what a peer's text may not do to a log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from dcmkit import logs

log = logs.get_logger("net")


@pytest.fixture(autouse=True)
def _library_again():
    yield
    logs.reset()


@pytest.mark.parametrize(
    ("level", "seen"),
    [("fatal", "F"), ("error", "FE"), ("warn", "FEW"), ("info", "FEWI"), ("debug", "FEWID"), ("trace", "FEWIDT")],
)
def test_levels_and_dcmtk_prefixes(level, seen, capsys):
    logs.configure(level)
    for speak in (log.fatal, log.error, log.warning, log.info, log.debug, log.trace):
        speak("said %d", 1)
    assert capsys.readouterr().err == "".join(f"{letter}: said 1\n" for letter in seen)


def test_enabled_for_follows_the_level():
    logs.configure("info")
    assert log.enabled_for(logs.INFO)
    assert not log.enabled_for(logs.DEBUG)


def test_json_lines_carry_time_level_and_logger(capsys):
    logs.configure("info", "json")
    log.warning("patient %s", "Jörg")
    record = json.loads(capsys.readouterr().err)
    assert record["level"] == "warn"
    assert record["logger"] == "dcmkit.net"
    assert record["message"] == "patient Jörg"
    assert record["time"].endswith("Z")


def test_one_message_is_one_line_whatever_the_peer_says(capsys):
    logs.configure("info")
    log.info("called by %s", "A\r\nE: forged\x1b[2J\x9b1m\u202e\ud800")
    assert capsys.readouterr().err == "I: called by A\\r\\nE: forged\\x1b[2J\\x9b1m\\u202e\\ud800\n"


def test_a_long_message_is_cut(capsys):
    logs.configure("info")
    log.info("%s", "x" * 1_000_000)
    assert len(capsys.readouterr().err) < logs.MAX_MESSAGE_LENGTH + 100


def test_arguments_that_do_not_fit_the_message_are_still_said(capsys):
    logs.configure("info")
    log.info("only %d", "text")
    assert "only %d ('text',)" in capsys.readouterr().err


def test_traceback_only_when_debug_is_on(capsys):
    for level in ("warn", "debug"):
        logs.configure(level)
        try:
            raise ValueError("a\x1b[31m")
        except ValueError:
            log.error("failed", exc_info=True)
    err = capsys.readouterr().err
    assert err.count("Traceback") == 1
    assert "\x1b" not in err
    assert "ValueError: a\\x1b[31m" in err


@pytest.mark.parametrize("text", ["plain", "Jörg 山田^太郎", "", "tab\tinside"])
def test_escape_leaves_printable_text_alone(text):
    assert logs.escape(text) == text.replace("\t", "\\t")


def test_a_library_hands_its_messages_to_logging(caplog):
    with caplog.at_level(logging.INFO, logger="dcmkit"):
        log.info("heard %s", "x\n")
        log.debug("not heard")
    assert [(r.name, r.getMessage()) for r in caplog.records] == [("dcmkit.net", "heard x\\n")]


def test_a_closed_stderr_is_no_error(monkeypatch):
    logs.configure("info")
    monkeypatch.setattr(sys, "stderr", None)
    log.info("nobody hears")


def test_importing_it_imports_no_logging():
    code = "import sys, dcmkit.logs; print(sorted({'logging', 'json', 'traceback'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True).stdout == "[]\n"

"""Completions, run in the shells that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from dcmkit.cli import shells
from dcmkit.cli.command_tree import CommandSpec, OptionSpec

LEVEL = OptionSpec(("-ll", "--log-level"), "LEVEL", "log level [default: warn]", ("warn", "info"), "", 1)
FILE = OptionSpec(("--report",), "FILE", "it's a report", (), "file", 1)
WHERE = OptionSpec(("-od",), "DIRECTORY", "where", (), "directory", 1)
SYNTAX = OptionSpec(("-xs",), "SYNTAX", "which", (), "transfer-syntax", 1)
PAIR = OptionSpec(("+tls",), "KEY CERT", "two", (), "", 2)
NAME = OptionSpec(("-aet",), "NAME", "free text", (), "", 1)
FLAG = OptionSpec(("+x=", "--uncompressed"), "", "a flag")
GENERAL = (("general options", (LEVEL,)),)
LIST = CommandSpec(("index", "ls"), "list", "", (), (("ls options", (WHERE,)), *GENERAL))
INDEX = CommandSpec(("index",), "look", "", (), GENERAL, commands=(LIST, LIST._replace(path=("index", "add"))))
SEND = CommandSpec(
    ("storescu",), "send", "", (), (("o", (FILE, WHERE, SYNTAX, PAIR, NAME, FLAG)), *GENERAL), ("peer", "file")
)
TREE = CommandSpec((), "all", "", (), GENERAL, commands=(INDEX, SEND))

CASES = [
    ("dcmkit ", "index storescu"),
    ("dcmkit st", "storescu"),
    ("dcmkit index ", "ls add"),
    ("dcmkit index ls --lo", "--log-level"),
    ("dcmkit index ls -ll i", "info"),
    ("dcmkit storescu -ll ", "warn info"),
    ("dcmkit storescu +", "+tls +x="),
    ("dcmkit storescu @", "@pacs @archive"),
    ("dcmkit storescu @pacs stu", "study"),
    ("dcmkit storescu host 104 stu", "study"),
    ("dcmkit storescu -aet storescu host 104 stu", "study"),
    ("dcmkit storescu +tls a b host 104 stu", "study"),
    ("dcmkit storescu --report fi", "file.dcm"),
    ("dcmkit storescu -od s", "study"),
    ("dcmkit storescu --log-level=in", "--log-level=info"),
    ("dcmkit storescu -xs Impl", "ImplicitVRLittleEndian"),
    ("dcmkit storescu -aet ", ""),
    ("dcmkit storescu host ", ""),
    ("dcmkit nonsense ", "index storescu"),
]


@pytest.fixture
def home(tmp_path):
    """A directory with a study, a file and a configuration of two nodes, and dcmkit in the PATH."""
    (tmp_path / "study").mkdir()
    (tmp_path / "file.dcm").touch()
    config = tmp_path / "config.toml"
    config.write_text("[nodes.pacs]\nhost='h'\nport=1\n[nodes.archive]\nhost='h'\nport=1\n")
    program = tmp_path / "bin" / "dcmkit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m dcmkit \"$@\"\n")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DCMKIT_CONFIG": str(config), "HOME": str(tmp_path), "PWD": str(tmp_path)}


def run(shell, script, home):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    flags = ["-f"] if shell == "zsh" else ["--norc"] if shell == "bash" else ["--no-config"]
    done = subprocess.run([shell, *flags, "-c", script], capture_output=True, text=True, env=home, cwd=home["PWD"])
    assert done.stderr == ""
    return done.stdout.splitlines()


def completed(shell, text, driver, home, cases=CASES):
    """One line of answers for each case."""
    assert_lines = run(shell, text + driver + "".join(f"try {shells._quote(line)}\n" for line, _ in cases), home)
    return {line: sorted(answer.split()) for (line, _), answer in zip(cases, assert_lines, strict=True)}


EXPECTED = {line: sorted(words.split()) for line, words in CASES}

BASH = """
try() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    _dcmkit
    echo "${COMPREPLY[*]}"
}
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
class TestShells:
    def test_bash(self, home):
        driver = "COMP_WORDBREAKS=$' \\t\\n\"\\'><;|&('\n" + BASH
        assert completed("bash", shells.bash(TREE), driver, home) == EXPECTED

    def test_bash_replaces_only_what_follows_a_word_break(self, home):
        cases = [
            ("dcmkit storescu @pa", "@pacs"),
            ("dcmkit storescu @", "@pacs @archive"),
            ("dcmkit storescu +x", "+x="),
            ("dcmkit storescu --log-level=in", "info"),
            ("dcmkit storescu --report=fi", "file.dcm"),
        ]
        driver = "COMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:'\n" + BASH
        got = completed("bash", shells.bash(TREE), driver, home, cases)
        assert got == {line: sorted(words.split()) for line, words in cases}

    def test_bash_registers_the_function(self, home):
        assert run("bash", shells.bash(TREE) + "complete -p dcmkit", home) == ["complete -F _dcmkit dcmkit"]

    def test_zsh(self, home):
        driver = r"""
compadd() { shift; print -rn -- "${(M)@:#$PREFIX*} " | sed "s/[^ ]/$BEFORE&/" }
_files() { [[ $1 == -/ ]] && print -rn -- ${PREFIX}*(N/) || print -rn -- ${PREFIX}*(N) }
_hosts() { }
compset() { BEFORE=${PREFIX%%=*}=; PREFIX=${PREFIX#*=} }
_message() { }
try() { words=("${(@s: :)1}"); CURRENT=$#words; PREFIX=$words[-1]; BEFORE=; _dcmkit; print }
"""
        text = "compdef() { }\n" + shells.zsh(TREE)
        assert completed("zsh", text, driver, home) == EXPECTED

    def test_fish(self, home):
        driver = "\nfunction try; echo (complete -C $argv[1] | string replace -r '[\\t/].*' ''); end\n"
        cases = [case for case in CASES if case[0] not in ("dcmkit nonsense ", "dcmkit storescu host ")]
        got = completed("fish", shells.fish(TREE), driver, home, cases)
        got["dcmkit storescu +"] = sorted(set(got["dcmkit storescu +"]) - {"@pacs", "@archive"})
        for line, words in got.items():
            assert set(words) >= set(EXPECTED[line]), line


def test_texts_are_quoted_for_fish():
    assert r"-d 'it\'s a report'" in shells.fish(TREE)

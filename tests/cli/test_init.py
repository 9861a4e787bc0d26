"""The program itself: names, help, version, start-up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dcmkit import __version__
from dcmkit.cli import main, program_name

HEAVY = {
    "pydicom", "pynetdicom", "numpy", "rich", "tqdm", "sqlite3", "logging", "asyncio", "email", "http", "json",
    "multiprocessing", "concurrent", "urllib", "tempfile", "shutil", "subprocess", "inspect", "dataclasses", "pathlib",
}  # fmt: skip


def loaded(*args: str) -> set[str]:
    """The modules a run of the program has imported at its end."""
    code = f"""
import sys
before = set(sys.modules)
from dcmkit.cli import main
try:
    main({["dcmkit", *args]!r})
except SystemExit:
    print(*(set(sys.modules) - before), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["--complete", "nodes"]])
def test_help_imports_not_even_click(args):
    assert loaded(*args) & (HEAVY | {"click", "socket"}) == set()


@pytest.mark.parametrize("args", [["echoscu", "127.0.0.1", "1"], ["storescu", "127.0.0.1", "1", "nothing-there"]])
def test_network_tools_import_nothing_heavy(args):
    assert loaded(*args) & HEAVY == set()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/usr/bin/dcmkit", "dcmkit"),
        ("/usr/bin/storescu", "storescu"),
        ("C:\\Tools\\STORESCU\\echoscu.exe", "echoscu"),
        ("storescp.py", "storescp"),
        ("/x/__main__.py", "dcmkit"),
        ("/x/pytest", "dcmkit"),
        ("", "dcmkit"),
    ],
)
def test_program_name(path, name):
    assert program_name(path) == name


def run(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_version(capsys):
    assert run(["dcmkit", "--version"], capsys) == (0, f"dcmkit {__version__}\n", "")


def test_no_command_is_bad_usage(capsys):
    code, out, err = run(["dcmkit"], capsys)
    assert (code, out) == (1, "")
    assert "Commands:" in err


def test_a_link_behaves_as_the_command(capsys):
    code, out, _ = run(["/opt/bin/config", "--help"], capsys)
    assert code == 0
    assert out.startswith("Usage: dcmkit config ")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_symbolic_link_to_the_program(tmp_path):
    program = os.path.join(os.path.dirname(sys.executable), "dcmkit")
    if not os.path.exists(program):
        pytest.skip("dcmkit is not installed as a program")
    os.symlink(program, tmp_path / "echoscu")
    done = subprocess.run([tmp_path / "echoscu", "--help"], capture_output=True, text=True)
    assert done.stdout.startswith("Usage: dcmkit echoscu ")


def test_python_m_dcmkit():
    done = subprocess.run([sys.executable, "-m", "dcmkit", "--version"], capture_output=True, text=True)
    assert done.stdout == f"dcmkit {__version__}\n"


def test_main_leaves_the_collector_as_commands_need_it():
    code = """
import gc, sys
from dcmkit.cli import main
from dcmkit.cli.commands import config
seen = []
config.command.commands["check"].callback = lambda: seen.append(gc.isenabled())
try:
    main(["dcmkit", "config", "check"])
except SystemExit as end:
    print(seen, end.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[True] 0\n"

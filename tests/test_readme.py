"""The README's examples that stand below `<!-- test -->`, run as they are written.

Each block runs in bash, in a directory that has a `study/`. Port 6066 becomes a free one; a command that ends in `&` is
a server, which the next command waits for and which must end with exit code 0 when it is stopped. Where lines follow a
command, they are what it prints.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"<!-- test -->\n```console\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command with the lines it should print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.fixture
def place(tmp_path):
    """A directory with a study in it, and an environment where `dcmkit` is this checkout's."""
    program = tmp_path / "bin" / "dcmkit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m dcmkit \"$@\"\n")
    program.chmod(0o755)
    work = tmp_path / "work"
    (work / "study" / "series").mkdir(parents=True)
    from pydicom.data import get_testdata_file

    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(str(get_testdata_file(name)), work / "study" / "series")
    env = {name: value for name, value in os.environ.items() if not name.startswith("DCMKIT_")}
    env |= {"PATH": f"{program.parent}{os.pathsep}{env['PATH']}", "XDG_CONFIG_HOME": str(tmp_path / "none")}
    return work, env


def start(command: str, work: Path, env: dict[str, str], port: int) -> subprocess.Popen[str]:
    server = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=work, env=env, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    first = server.stderr.readline()
    assert f"port {port}" in first, first
    return server


@pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="the examples are for bash")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][2:40])
def test_examples(block, place):
    work, env = place
    port = free_port()
    servers = []
    directories = []
    exports = ""
    try:
        for command, expected in commands(block.replace("6066", str(port))):
            if command.endswith(" &"):
                servers.append(start(command[:-2], work, env, port))
                directories += re.findall(r"-od (\S+)", command)
                continue
            done = subprocess.run(
                ["bash", "-c", exports + command], cwd=work, env=env, capture_output=True, text=True, timeout=60
            )
            if command.startswith("export "):
                exports += f"{command}\n"
            printed = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
            if expected:
                assert printed == expected
            assert done.returncode == (1 if any("error:" in line for line in expected) else 0), printed
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)
    assert [server.returncode for server in servers] == [0] * len(servers)
    for directory in directories:
        assert len(list((work / directory).rglob("*.dcm"))) == 2


def test_there_are_examples():
    assert len(BLOCKS) >= 3

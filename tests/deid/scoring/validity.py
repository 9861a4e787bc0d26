"""What dicom3tools' dciodvfy has to say: errors that an output has and its input has not."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.deid.scoring import tree
from tests.deid.scoring.tree import DEFLATED

_VALUE = re.compile(r" = <[^>]*>|(?<=UID )[0-9.]+|'[^']*'|\[[^\]]*\]|\b[0-9]+(?:\.[0-9]+){2,}|\b[0-9]{6,}\b")
_known: dict[bytes, frozenset[str]] = {}


def available() -> bool:
    """Whether dciodvfy is here."""
    return shutil.which("dciodvfy") is not None


def errors(path: Path) -> frozenset[str]:
    """The errors of a file, without the values they show."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    if digest not in _known:
        with tempfile.TemporaryDirectory() as place:
            done = subprocess.run(
                ["dciodvfy", _inflated(path, Path(place))], capture_output=True, timeout=60, check=False
            )
        lines = (done.stderr + done.stdout).decode("latin-1").splitlines()
        found = {_plain(line) for line in lines if line.startswith("Error")}
        if done.returncode < 0:
            found.add(f"Error - dciodvfy ended by signal {-done.returncode}")
        _known[digest] = frozenset(found)
    return _known[digest]


def _inflated(path: Path, place: Path) -> Path:
    """A deflated file inflated, as dciodvfy cannot; others as they are."""
    data = path.read_bytes()
    if DEFLATED.encode() not in data[:1000]:
        return path
    file = tree.read(path)
    end = data.index(DEFLATED.encode())
    head = len(data) - len(data[132:]) + 12 + int.from_bytes(file.meta.value(0x00020000), "little")
    plain = place / "inflated.dcm"
    plain.write_bytes(data[:end] + b"1.2.840.10008.1.2.1\0\0\0" + data[end + 22 : head] + file.inflated)
    return plain


def _plain(line: str) -> str:
    return _VALUE.sub("<>", line)


def new_errors(pairs: Iterable[tuple[Path, Path]]) -> list[list[str]]:
    """For each pair of input and output the errors that are new."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda pair: sorted(errors(pair[1]) - errors(pair[0])), pairs))

"""Fetch the viewer that a test opens studies in: OHIF, from npm, without the parts that no test needs.

    python tools/fetch_ohif.py [DIRECTORY]

Leaves `dist` in DIRECTORY (default `build/ohif`). What is there already is kept. `dcmkit web --ohif DIRECTORY/dist`
serves it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@ohif/app@3.12.10"
LEFT_OUT = ("package/dist/ort/", "package/dist/dicom-microscopy-viewer/")
"""Neural networks and whole slide images: four fifths of it."""


def fetch(directory: Path) -> Path:
    """The viewer's folder."""
    dist = directory / "dist"
    if (dist / "index.html").exists():
        return dist
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as place:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("npm is not here: the viewer's test is skipped")
        subprocess.run(
            [npm, "pack", "--silent", PACKAGE, "--pack-destination", place],
            check=True,
            timeout=300,
            stdout=subprocess.PIPE,
        )
        (archive,) = Path(place).glob("*.tgz")
        with tarfile.open(archive) as tar:
            members = [
                member
                for member in tar.getmembers()
                if member.isfile()
                and member.name.startswith("package/dist/")
                and ".." not in member.name
                and not member.name.startswith(LEFT_OUT)
                and not member.name.endswith(".map")
            ]
            tar.extractall(place, members=members)  # noqa: S202 - names are checked above
        (Path(place) / "package" / "dist").rename(dist)
    return dist


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1] if len(sys.argv) > 1 else "build/ohif")))

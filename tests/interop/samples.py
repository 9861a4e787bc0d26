"""Real files to send: pydicom's bundled ones with a storage SOP class, and WG-04's where they are at hand."""

from __future__ import annotations

import importlib.util
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

WG04 = Path(__file__).parents[3] / "shared" / "data" / "wg04"
BROKEN = re.compile(r"truncated|too_short|bad_sequence")
"""Files of the bundled set that a data set reader may rightly refuse."""


def sources() -> Iterator[Path]:
    """Every file of pydicom, pydicom-data and WG-04, in a fixed order."""
    for package, folder in (("pydicom", "data"), ("data_store", "data")):
        found = importlib.util.find_spec(package)
        if found and found.origin:
            yield from sorted(path for path in (Path(found.origin).parent / folder).rglob("*") if path.is_file())
    if WG04.is_dir():
        yield from sorted(WG04.iterdir())


def is_storage_class(uid: str) -> bool:
    """Whether `uid` names a storage SOP class (PS3.4 B.5, GG.3)."""
    from pydicom.uid import UID

    known = UID(uid)
    return known.type == "SOP Class" and "Storage" in known.name and "Directory" not in known.name


def collect(directory: Path, *, broken: bool = False) -> dict[str, Path]:
    """Copy the files that can be sent into `directory`, each with a SOP Instance UID of its own.

    Many bundled files are the same instance in another encoding. Each repetition gets another UID of the same
    length, in meta information and data set alike, so that every other byte stays what it was. Files whose data set
    has no SOP Instance UID are no instances and are left out.

    Args:
        directory: is made; the copies lie in it flat.
        broken: the files that are known to be damaged instead of the sound ones.

    Returns:
        the copies by the SOP Instance UID in their data set.
    """
    directory.mkdir(parents=True, exist_ok=True)
    copies: dict[str, Path] = {}
    for index, source in enumerate(sources()):
        class_uid, instance_uid = instance_of(source)
        if not is_storage_class(class_uid) or not instance_uid or bool(BROKEN.search(source.name)) != broken:
            continue
        copy = directory / f"{index:03}-{source.name}"
        if instance_uid in copies:
            fresh = another_uid(instance_uid, set(copies))
            copy.write_bytes(source.read_bytes().replace(instance_uid.encode(), fresh.encode()))
            instance_uid = fresh
        else:
            shutil.copyfile(source, copy)
        copies[instance_uid] = copy
    return copies


def instance_of(path: Path) -> tuple[str, str]:
    """SOP Class and Instance UID in the file's data set, which need not be those of its meta information."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        except (InvalidDicomError, OSError):
            return "", ""
        return str(found.get("SOPClassUID", "")), str(found.get("SOPInstanceUID", ""))


def another_uid(uid: str, taken: set[str]) -> str:
    """A UID of the same length that is not in `taken`.

    Only the last three digits that do not lead their component change, so no component gets a leading zero.
    """
    places = [index for index in range(1, len(uid)) if uid[index].isdigit() and uid[index - 1].isdigit()][-3:]
    for number in range(1000):
        digits = list(uid)
        for place, digit in zip(places, f"{number:03}"[-len(places) :], strict=True):
            digits[place] = digit
        if (fresh := "".join(digits)) not in taken:
            return fresh
    raise ValueError(f"{uid} has too few digits to vary")

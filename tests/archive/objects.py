"""Objects to put into archives, and archives to put them into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dcmkit.archive.filing import Stored
from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import file_meta
from dcmkit.settings import ArchiveSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.dataset.encoding import Element, encode, number

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = EXPLICIT_VR_LITTLE_ENDIAN


def image(
    uid: str = "1.2.3",
    *,
    study: str = "1.2.3.1",
    series: str = "1.2.3.2",
    sop_class: str = CT,
    name: str = "Doe^Jane",
    patient: str = "4711",
    modality: str = "CT",
    date: str = "20240131",
    instance: int = 1,
    pixels: bytes = b"\1\2\3\4",
    more: Sequence[Element] = (),
    without: Sequence[int] = (),
    syntax: str = EXPLICIT,
) -> bytes:
    """A small image's data set."""
    elements: dict[int, Element] = {
        element[0]: element
        for element in (
            (0x00080005, "CS", b"ISO_IR 192"),
            (0x00080008, "CS", b"ORIGINAL\\PRIMARY"),
            (0x00080016, "UI", sop_class.encode()),
            (0x00080018, "UI", uid.encode()),
            (0x00080020, "DA", date.encode()),
            (0x00080050, "SH", b"A-1"),
            (0x00080060, "CS", modality.encode()),
            (0x00081030, "LO", b"Head"),
            (0x00100010, "PN", name.encode()),
            (0x00100020, "LO", patient.encode()),
            (0x0020000D, "UI", study.encode()),
            (0x0020000E, "UI", series.encode()),
            (0x00200011, "IS", b"7"),
            (0x00200013, "IS", str(instance).encode()),
            (0x00280010, "US", number(2, syntax)),
            (0x00280011, "US", number(1, syntax)),
            *more,
            (0x7FE00010, "OW", pixels),
        )
    }
    return encode([elements[tag] for tag in sorted(elements) if tag not in without], syntax)


def part10(
    uid: str = "1.2.3", data: bytes | None = None, *, sop_class: str = CT, syntax: str = EXPLICIT, **how: Any
) -> bytes:
    """A DICOM file with `data`, or with an image."""
    if data is None:
        data = image(uid, sop_class=sop_class, syntax=syntax, **how)
    return file_meta(sop_class, uid, syntax) + data


def archive_in(directory: Path, **settings: Any) -> Archive:
    """An archive, not open yet. Durability is "none" unless asked for: tests need no power cut."""
    settings.setdefault("durability", "none")
    return Archive(ArchiveSettings(output_directory=str(directory), **settings))


def put(
    archive: Archive,
    uid: str = "1.2.3",
    data: bytes | None = None,
    *,
    sop_class: str = CT,
    syntax: str = EXPLICIT,
    source: str = "SENDER",
    cuts: Sequence[int] = (),
    **how: Any,
) -> Stored:
    """Store `data`, or an image, in pieces cut at `cuts`."""
    if data is None:
        data = image(uid, sop_class=sop_class, syntax=syntax, **how)
    incoming = archive.incoming(sop_class, uid, syntax, source)
    start = 0
    for end in (*cuts, len(data)):
        incoming.write(memoryview(data)[start:end])
        start = end
    return incoming.commit()


def visible(directory: Path) -> list[str]:
    """The files an archive shows, relative."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and ".dcmkit" not in path.relative_to(directory).parts
    )


def arriving(directory: Path) -> list[str]:
    """Objects on their way in."""
    return [p.name for p in (directory / ".dcmkit" / "incoming").rglob("*") if p.is_file() and p.name != "owner"]


def rows(archive: Archive, uid: str) -> list[str]:
    """The paths the index has for a SOP Instance."""
    archive.flush()
    return [f"{directory}/{name}" if directory else name for directory, name, _ in archive.index.find(uid)]

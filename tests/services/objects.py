"""Data sets as bytes, true and false, and a listener with an archive behind it to send them to."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from dcmkit.archive.store import Archive
from dcmkit.dataset.completeness import require_complete
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.net.association import Association
from dcmkit.net.listener import Listener
from dcmkit.protocol.message import C_STORE_RQ, C_STORE_RSP
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.storage import StorageSCP
from dcmkit.settings import ArchiveSettings, AssociationSettings
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.interop.process import Server, serving
from tests.net.server import ECHO_CONTEXT, associate, listening

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
PRIVATE_SOP_CLASS = "1.3.12.2.1107.5.9.1"

EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, RLE, PRIVATE = 3, 5, 7, 9, 11, 13
"""Context ids of `CONTEXTS`, which `store` sends on."""

CONTEXTS = (
    ECHO_CONTEXT,
    PresentationContextRQ(EXPLICIT, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(IMPLICIT, CT, (IMPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(BIG_ENDIAN, CT, (EXPLICIT_VR_BIG_ENDIAN,)),
    PresentationContextRQ(DEFLATED, CT, (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(RLE, CT, (RLE_LOSSLESS,)),
    PresentationContextRQ(PRIVATE, PRIVATE_SOP_CLASS, (IMPLICIT_VR_LITTLE_ENDIAN,)),
)

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_numbers = count(1)


def fresh_uid() -> str:
    """A UID no other object of this test run has."""
    return f"1.2.826.0.1.3680043.10.{os.getpid()}.{next(_numbers)}"


def element(tag: int, vr: bytes, value: bytes = b"", length: int = -1) -> bytes:
    """One element in explicit VR little endian; b"" as `vr` makes it implicit, `length` may lie about the value."""
    if len(value) % 2 and length < 0:
        value += b"\0" if vr in (b"UI", b"OB", b"") else b" "
    if length < 0:
        length = len(value)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not vr:
        return head + struct.pack("<L", length) + value
    if vr in _LONG:
        return head + vr + struct.pack("<HL", 0, length) + value
    return head + vr + struct.pack("<H", length) + value


def image(
    uid: str,
    *more: bytes,
    sop_class: str = CT,
    study: str = "1.2.3",
    series: str = "1.2.3.4",
    name: bytes = b"Doe^Jane",
    pixels: bytes = b"\1\2\3\4",
) -> bytes:
    """A small image in explicit VR little endian; `more` are elements beyond group 0020 and below the pixels."""
    return b"".join(
        (
            element(0x00080005, b"CS", b"ISO_IR 100"),
            element(0x00080016, b"UI", sop_class.encode()),
            element(0x00080018, b"UI", uid.encode()),
            element(0x00080060, b"CS", b"CT"),
            element(0x00100010, b"PN", name),
            element(0x00100020, b"LO", b"4711"),
            element(0x0020000D, b"UI", study.encode()),
            element(0x0020000E, b"UI", series.encode()),
            *more,
            element(0x7FE00010, b"OW", pixels),
        )
    )


def implicit_image(uid: str, *more: bytes, study: str = "1.2.3") -> bytes:
    """The same in implicit VR."""
    return b"".join(
        (
            element(0x00080016, b"", CT.encode()),
            element(0x00080018, b"", uid.encode()),
            element(0x0020000D, b"", study.encode()),
            element(0x0020000E, b"", f"{study}.4".encode()),
            *more,
            element(0x7FE00010, b"", b"\1\2\3\4"),
        )
    )


def part10(uid: str, data: bytes, *, sop_class: str = CT, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """A DICOM file with this data set."""
    return file_meta(sop_class, uid, syntax) + data


class Site:
    """A listener with an archive, in a directory in which nothing else is.

    Attributes:
        listener: running.
        archive: open.
        around: the directory the archive is in.
    """

    def __init__(self, listener: Listener, archive: Archive, around: Path) -> None:
        self.listener = listener
        self.archive = archive
        self.around = around
        self._sound: set[tuple[Path, int]] = set()

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def root(self) -> Path:
        return Path(self.archive.root)

    def associate(self, **settings: object) -> Association:
        """An association with every context of `CONTEXTS`."""
        return associate(self.port, *CONTEXTS, **settings)

    def send(self, data: bytes, uid: str, **how: Any) -> C_STORE_RSP:
        """Store one object in an association of its own, which must survive it."""
        association = self.associate()
        response = store(association, data, uid, **how)
        association.release()
        return response

    def files(self) -> list[Path]:
        """What is visible in the archive."""
        return sorted(p for p in self.root.rglob("*") if p.is_file() and ".dcmkit" not in p.parts)

    def rows(self, uid: str) -> list[Path]:
        """The files the index has for a SOP Instance."""
        self.archive.flush()
        return [self.root / directory / name for directory, name, _ in self.archive.index.find(uid)]

    def indexed(self, uid: str, column: str) -> object:
        """What the index holds of an instance."""
        self.archive.flush()
        joins = "JOIN series ON series.id = instance.series JOIN study ON study.id = series.study"
        joins += " JOIN patient ON patient.id = study.patient"
        with self.archive.index.reading() as connection:
            query = f"SELECT {column} FROM instance {joins} WHERE instance.SOPInstanceUID = ?"
            (row,) = connection.execute(query, (uid,)).fetchall()
            return row[0]

    def data_set(self, uid: str) -> bytes:
        """The encoded data set of the one file of a SOP Instance."""
        (path,) = self.rows(uid)
        return path.read_bytes()[read_file_header(path).offset :]

    def arriving(self) -> list[Path]:
        """Objects on their way in."""
        incoming = self.root / ".dcmkit" / "incoming"
        return [p for p in incoming.rglob("*") if p.is_file() and p.name != "owner"]

    def outside(self) -> list[str]:
        """What lies around the archive; nothing may."""
        return [str(p) for p in self.around.rglob("*") if p != self.root and self.root not in p.parents]

    def assert_sound(self) -> None:
        """Nothing half done is anywhere, and every file that can be seen is whole and in the index."""
        assert until(lambda: not self.arriving()), self.arriving()
        assert self.outside() == []
        for path in self.files():
            if (path, path.stat().st_mtime_ns) in self._sound:
                continue
            header = read_file_header(path)
            with path.open("rb") as file:
                file.seek(header.offset)
                require_complete(file.fileno(), header, file.read(65536))
            assert path in self.rows(header.sop_instance_uid)
            self._sound.add((path, path.stat().st_mtime_ns))


@contextmanager
def site(around: Path, *, association: AssociationSettings | None = None, **settings: object) -> Iterator[Site]:
    """A `Site` in an empty directory; `settings` are the archive's."""
    chosen = ArchiveSettings(output_directory=str(around / "archive"), **settings)
    with Archive(chosen) as archive, listening((StorageSCP(archive),), association) as listener:
        yield Site(listener, archive, around)


@contextmanager
def storescp(around: Path, *options: str) -> Iterator[Server]:
    """`dcmkit storescp` as a process of its own, with its archive in `around`."""

    def command(port: int) -> list[str]:
        root = str(around / "archive")
        return [sys.executable, "-m", "dcmkit", "storescp", str(port), "-v", "-aet", "SCP", "-od", root, *options]

    with serving("storescp", command, around) as started:
        yield started


def begin(association: Association, uid: str, context_id: int = EXPLICIT, sop_class: str | None = None) -> int:
    """Send a C-STORE-RQ whose data set is still to come; its message ID."""
    message_id = association.next_message_id()
    own = association.contexts.by_id(context_id)[0]
    rq = C_STORE_RQ(
        message_id=message_id,
        affected_sop_class_uid=own if sop_class is None else sop_class,
        affected_sop_instance_uid=uid,
    )
    association.send(context_id, rq)
    return message_id


def answer(association: Association) -> C_STORE_RSP:
    """The response to the C-STORE-RQ sent last."""
    received = association.receive()
    assert received is not None
    assert isinstance(received.message, C_STORE_RSP)
    return received.message


def store(
    association: Association, data: bytes, uid: str, *, context_id: int = EXPLICIT, sop_class: str | None = None
) -> C_STORE_RSP:
    """Send one object, whatever it is, and take the response."""
    message_id = begin(association, uid, context_id, sop_class)
    association.send_data_set(context_id, data, last=True)
    response = answer(association)
    assert response.message_id_being_responded_to == message_id
    assert len(response.error_comment or "") <= 64
    return response


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether `condition` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True

"""Targets of the store transaction; `targets.py` enters them."""

from __future__ import annotations

import json

from dcmkit.archive.filing import STORED, Stored
from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.errors import DcmkitError, InvalidDataSetError
from dcmkit.pixels.syntaxes import EXPLICIT
from dcmkit.uids import is_uid
from dcmkit.web.exchange import Reply, Request, WholeBody
from dcmkit.web.multipart import Limits, lay_out
from dcmkit.web.storing import Storing
from dcmkit.web.stow_answer import parse_answer

BOUNDARY = "dcmkit"
LIMITS = Limits(parts=8, header=256, part=1 << 20)


class _Incoming:
    """An object on its way to where nothing is kept; its data set has to be one."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        self._scanner = DataSetScanner(transfer_syntax_uid, frozenset())

    def begin(self) -> None:
        """Nothing is to be prepared."""

    def write(self, view: memoryview) -> None:
        self._scanner.feed(view)

    def abandon(self) -> None:
        """Nothing is left."""

    def commit(self) -> Stored:
        self._scanner.finish()
        return Stored("", STORED)


class _Nowhere:
    """A destination that keeps nothing."""

    def incoming(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> _Incoming:
        if not (is_uid(sop_class_uid) and is_uid(sop_instance_uid)):
            raise InvalidDataSetError("no UIDs")
        return _Incoming(transfer_syntax_uid)


_STORE_TYPES = tuple(
    f"{content_type}; boundary={BOUNDARY}"
    for content_type in (
        "multipart/related; type=application/dicom",
        "multipart/related; type=application/dicom+json",
        "multipart/related; type=application/dicom+xml",
        "multipart/form-data",
    )
)
_STORING = Storing(_Nowhere(), limits=LIMITS)  # type: ignore[arg-type]


def fuzz_storing(data: bytes) -> None:
    """A body of the kind that the first byte says: answered for, object by object, or refused as documented."""
    if not data:
        return
    headers = {"content-type": _STORE_TYPES[data[0] % len(_STORE_TYPES)]}
    try:
        reply = _STORING.store(Request("POST", "/studies", headers=headers, body=WholeBody(data[1:])))
    except DcmkitError as error:
        if not 400 <= error.http_status < 500:
            raise AssertionError(f"answered with {error.http_status}") from error
        return
    assert isinstance(reply, Reply)
    assert isinstance(reply.body, bytes)
    found = parse_answer(reply.body)
    assert found.stored or found.failed or found.other
    assert (reply.status in (200, 202)) == ("00081199" in json.loads(reply.body))


_METADATA = {
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "D\u00e9^J"}]},
    "00081140": {"vr": "SQ", "Value": [{"54001010": {"vr": "OW", "BulkDataURI": "b/2"}}]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "b/1"},
}
_NATIVE = (
    b'<NativeDicomModel><DicomAttribute tag="00080016" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>'
    b'<DicomAttribute tag="00190002" vr="LO" privateCreator="A"><Value number="2">x</Value></DicomAttribute>'
    b'<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>D</FamilyName></Alphabetic>'
    b'</PersonName></DicomAttribute><DicomAttribute tag="00081140" vr="SQ"><Item number="1"/></DicomAttribute>'
    b'<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="b/1"/></DicomAttribute></NativeDicomModel>'
)
_JPEG = bytes.fromhex("ffd8ffc0000b080002000301011100ffda0008010100003f00") + bytes(16) + b"\xff\xd9"


def _store_bodies() -> list[bytes]:
    uids = b"\x08\0\x16\0UI\4\0" + b"1.2\0" + b"\x08\0\x18\0UI\4\0" + b"1.3\0"
    objects = [file_meta("1.2", "1.3", EXPLICIT) + uids, uids, b"DICM" + file_meta("1.2", "1.3", EXPLICIT)[132:] + uids]
    dicom = [({"Content-Type": "application/dicom"}, one) for one in objects]
    bulk = [
        ({"Content-Type": "image/jpeg", "Content-Location": "b/1"}, _JPEG),
        ({"Content-Type": "application/octet-stream", "Content-ID": "<x>", "Content-Location": "b/2"}, b"abc"),
    ]
    kinds = [
        dicom,
        [({"Content-Type": "application/dicom+json"}, json.dumps([_METADATA]).encode()), *bulk],
        [({"Content-Type": "application/dicom+xml"}, _NATIVE), *bulk],
        [({"Content-Disposition": 'form-data; name="a"; filename="b"'}, objects[0])],
    ]
    found = []
    for number, parts in enumerate(kinds):
        pieces, _ = lay_out(BOUNDARY, [(headers, len(content), [content]) for headers, content in parts])
        found.append(bytes((number,)) + b"".join(bytes(piece) for piece in pieces))
    return found


RUNS = {"storing": (fuzz_storing, tuple(_store_bodies()))}
"""Function and seeds by name."""

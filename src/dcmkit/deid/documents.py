"""Documents with nothing in them, in place of encapsulated ones (PS3.3 C.24.2; (0042,0011) is D in PS3.15 Table E.1-1).

Each is the smallest valid document of its type, always the same, and of even length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

MIME_TYPES = ("application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl")
"""Of PS3.3 A.45 and A.85; for any other type there is a line of text."""

_TITLE = "Removed"


@lru_cache(maxsize=32)
def dummy(mime_type: str) -> bytes:
    """A document of a MIME type, which may have parameters."""
    make = _MAKERS.get(mime_type.partition(";")[0].strip().lower(), _text)
    document = make()
    return document if not len(document) & 1 else document + b"\n"


def _pdf() -> bytes:
    """One empty page (ISO 32000-1 7.5)."""
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> >>",
    )
    text, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(text))
        text += f"{number} 0 obj\n{content}\nendobj\n"
    entries = "".join([f"{place:010} 00000 n \n" for place in places])
    size = len(objects) + 1
    start = len(text)
    text += f"xref\n0 {size}\n0000000000 65535 f \n{entries}"
    text += f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return text.encode("ascii")


def _cda() -> bytes:
    """A CDA document (HL7 CDA R2) of which nothing is known but that it is one."""
    unknown = '<id nullFlavor="MSK"/>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ClinicalDocument xmlns="urn:hl7-org:v3">\n'
        '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>\n'
        f"{unknown}\n"
        '<code nullFlavor="MSK"/>\n'
        f"<title>{_TITLE}</title>\n"
        '<effectiveTime nullFlavor="MSK"/>\n'
        '<confidentialityCode nullFlavor="MSK"/>\n'
        f"<recordTarget><patientRole>{unknown}</patientRole></recordTarget>\n"
        f'<author><time nullFlavor="MSK"/><assignedAuthor>{unknown}</assignedAuthor></author>\n'
        f"<custodian><assignedCustodian><representedCustodianOrganization>{unknown}"
        "</representedCustodianOrganization></assignedCustodian></custodian>\n"
        f"<component><structuredBody><component><section><title>{_TITLE}</title><text>{_TITLE}</text></section>"
        "</component></structuredBody></component>\n"
        "</ClinicalDocument>\n"
    ).encode("ascii")


def _stl() -> bytes:
    """A binary solid of one triangle without extent: some readers refuse a solid of none."""
    return _TITLE.encode("ascii").ljust(80, b" ") + (1).to_bytes(4, "little") + bytes(50)


def _obj() -> bytes:
    return b"# Removed\no removed\nv 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n"


def _mtl() -> bytes:
    return b"# Removed\nnewmtl removed\nKd 0.5 0.5 0.5\n"


def _text() -> bytes:
    return f"{_TITLE}\n".encode("ascii")


_MAKERS: dict[str, Callable[[], bytes]] = {
    "application/pdf": _pdf,
    "text/xml": _cda,
    "application/xml": _cda,
    "application/hl7-cda+xml": _cda,
    "application/hl7-sda+xml": _cda,
    "model/stl": _stl,
    "application/sla": _stl,
    "model/obj": _obj,
    "model/mtl": _mtl,
}

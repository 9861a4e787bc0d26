"""Target of data sets that become JSON straight away; `targets.py` enters it."""

from __future__ import annotations

import contextlib
import json

from dcmkit import uids
from dcmkit.dataset.element_path import bulk_elements, find, parse_path
from dcmkit.dataset.elements import Element, encode
from dcmkit.dataset.json_header import json_of, slow_json
from dcmkit.dataset.raw import encoding_of, guess
from dcmkit.errors import InvalidDataSetError

SYNTAXES = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN)


def fuzz_json_header(data: bytes) -> None:
    """A data set straight to JSON: the same as by way of the model, and every BulkDataURI leads to an element."""
    if not data:
        return
    syntax, content = SYNTAXES[data[0] % 3], data[1:]
    encoding = guess(memoryview(content), 0, len(content), encoding_of(syntax))
    try:
        slow = slow_json(content, 0, len(content), encoding, {})
    except InvalidDataSetError:
        slow = b""
    for _ in range(2):  # the second time out of what is remembered
        try:
            quick = json_of(content, 0, len(content), syntax)
        except InvalidDataSetError:
            quick = b""
        assert quick == slow
    if not slow:
        return
    uris: list[str] = []
    json.loads(slow.replace(b"\0", b"@"), object_hook=lambda found: uris.append(found.get("BulkDataURI", "")))
    for uri in filter(None, uris):
        path = parse_path(uri.removeprefix("@/bulkdata/"))
        assert path is not None
        with contextlib.suppress(InvalidDataSetError):  # a sequence that is read as it is meant, but not to be followed
            assert find(content, 0, len(content), encoding, path) is not None, uri
    with contextlib.suppress(InvalidDataSetError):
        for one in bulk_elements(content, 0, len(content), encoding):
            assert find(content, 0, len(content), encoding, one.path) is not None


def _data_sets() -> list[bytes]:
    elements = {
        0x00080005: Element("CS", "ISO_IR 192"), 0x00080008: Element("CS", "ORIGINAL\\PRIMARY"),
        0x00081140: Element("SQ", [{0x00081150: Element("UI", "1.2"), 0x00091010: Element("OB", b"x" * 1026)}, {}]),
        0x00091001: Element("UN", b"\1\2"), 0x00100010: Element("PN", "Äneas^Ödön=漢字"),
        0x00101030: Element("DS", "70.50\\1e3"), 0x00200013: Element("IS", "7"), 0x00280009: Element("AT", "00181063"),
        0x00280010: Element("US", "512"), 0x60003000: Element("OW", b"\1\0"), 0x7FE00010: Element("OW", b"\0\1"),
    }  # fmt: skip
    fragments = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    plain = [bytes((at,)) + encode(elements, syntax) for at, syntax in enumerate(SYNTAXES)]
    return [*plain, b"\0" + encode({0x00080005: Element("CS", "ISO_IR 100")}, SYNTAXES[0]) + fragments]


RUNS = {"json_header": (fuzz_json_header, tuple(_data_sets()))}
"""Function and seeds by name."""

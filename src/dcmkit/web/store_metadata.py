"""Metadata of instances to be stored: the DICOM JSON model (PS3.18 F) as it is, the native XML model made into it.

What comes of both are plain values of JSON, one object for each instance, for `json_model.from_json` to judge.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from dcmkit.dataset.elements import DEPTH_LIMIT
from dcmkit.errors import InvalidDataSetError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

METADATA_LIMIT = 16 << 20
"""Bytes of one part with metadata."""

JsonObject = dict[str, Any]
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_CREATOR = re.compile("([0-9A-F]{3}[13579BDF])00([1-9A-F][0-9A-F])")
_GAPS = 64
"""Values that may be missing among those of an attribute: each becomes an empty one."""


def parse_json(body: bytes) -> list[object]:
    """The objects of an array, or the only one.

    Raises:
        InvalidDataSetError: it is no JSON.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidDataSetError("the metadata is no JSON") from None
    return found if isinstance(found, list) else [found]


def parse_xml(body: bytes) -> list[object]:
    """The native DICOM models of a document (PS3.19 A.1), as the JSON model has them. It is UTF-8, without a DTD.

    Raises:
        InvalidDataSetError: it is none.
    """
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise InvalidDataSetError("the metadata is XML with a DTD")
        root = fromstring(text)  # noqa: S314 - without a DTD
    except (ParseError, ValueError):
        raise InvalidDataSetError("the metadata is no XML in UTF-8") from None
    models = [root] if _name(root) == "NativeDicomModel" else [one for one in root if _name(one) == "NativeDicomModel"]
    if not models:
        raise InvalidDataSetError("the metadata is XML without a NativeDicomModel")
    return [_data_set(model, 0) for model in models]


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _data_set(parent: Element, depth: int) -> JsonObject:
    if depth > DEPTH_LIMIT:
        raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}")
    found: JsonObject = {}
    blocks = _blocks(parent)
    for attribute in parent:
        if _name(attribute) == "DicomAttribute":
            tag, creator = attribute.get("tag", "").upper(), attribute.get("privateCreator", "")
            if creator and len(tag) == 8 and tag[4:6] == "00":
                block = _reserve(blocks.setdefault(tag[:4], {}), creator)
                found[f"{tag[:4]}00{block:02X}"] = {"vr": "LO", "Value": [creator]}
                tag = f"{tag[:4]}{block:02X}{tag[6:]}"
            found[tag] = _attribute(attribute, depth)
    return found


def _blocks(parent: Element) -> dict[str, dict[str, int]]:
    """The blocks that private creators have reserved, by group (PS3.5 7.8.1)."""
    found: dict[str, dict[str, int]] = {}
    for attribute in parent:
        creator = _CREATOR.fullmatch(attribute.get("tag", "").upper())
        if creator is not None:
            name = next((child.text for child in attribute if _name(child) == "Value"), None)
            found.setdefault(creator[1], {}).setdefault(name or "", int(creator[2], 16))
    return found


def _reserve(blocks: dict[str, int], creator: str) -> int:
    """The block of a creator; the first that is free, where it has none (PS3.19 A.1.6)."""
    if creator not in blocks:
        taken = set(blocks.values())
        free = next((block for block in range(0x10, 0x100) if block not in taken), None)
        if free is None:
            raise InvalidDataSetError("more private creators than there are blocks")
        blocks[creator] = free
    return blocks[creator]


def _attribute(attribute: Element, depth: int) -> JsonObject:
    found: JsonObject = {"vr": attribute.get("vr", "")}
    values: list[tuple[int, object]] = []
    for child in attribute:
        kind = _name(child)
        if kind == "BulkData":
            found["BulkDataURI"] = child.get("uri") or child.get("uuid") or ""
        elif kind == "InlineBinary":
            found["InlineBinary"] = "".join((child.text or "").split())
        elif kind == "Item":
            values.append((_number(child), _data_set(child, depth + 1)))
        elif kind == "PersonName":
            values.append((_number(child), _person_name(child)))
        elif kind == "Value":
            values.append((_number(child), child.text or None))
    if values:
        values.sort(key=lambda value: value[0])
        if values[-1][0] > len(values) + _GAPS:
            raise InvalidDataSetError("values are numbered beyond their count")
        filled: list[object] = [None] * values[-1][0]
        for number, value in values:
            filled[number - 1] = value
        found["Value"] = filled
    return found


def _number(child: Element) -> int:
    text = child.get("number", "1")
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text)):
        raise InvalidDataSetError("a value without a number")
    return int(text)


def _person_name(name: Element) -> JsonObject:
    groups: JsonObject = {}
    for group in name:
        if _name(group) in _GROUPS:
            parts = {_name(part): part.text or "" for part in group}
            groups[_name(group)] = "^".join(parts.get(one, "") for one in _COMPONENTS).rstrip("^")
    return groups

"""What a server says of the objects it was to store (PS3.18 Annex I.2): the data set of its answer, JSON or XML.

Lenient in what does no harm: arrays of one, numbers as text, either model under any media type.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.dataset.part10 import clean_uid
from dcmkit.errors import InvalidDataSetError
from dcmkit.protocol.status import PROCESSING_FAILURE, describe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

RETRIEVE_URL, WARNING_REASON, FAILURE_REASON = "00081190", "00081196", "00081197"
FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE, OTHER_FAILURES_SEQUENCE = "00081198", "00081199", "0008119A"
REFERENCED_SOP_INSTANCE_UID, ERROR_COMMENT = "00081155", "00000902"
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
_LONGEST_COMMENT = 500

_Item = dict[str, Any]
"""Values by tag: text and numbers as text, items as a list of these."""


class Failure(NamedTuple):
    """Why an object was not stored.

    Attributes:
        reason: of PS3.18 Table I.2-2, a status of C-STORE.
        comment: what the server adds in words; they are a stranger's.
    """

    reason: int
    comment: str = ""


class StoreAnswer(NamedTuple):
    """What became of the objects of a request.

    Attributes:
        stored: by SOP Instance UID the warning reason (PS3.18 Table I.2-1), 0 for none.
        failed: by SOP Instance UID.
        other: failures that name no object.
        retrieve_url: where what was stored can be had; "" where the server does not say.
    """

    stored: dict[str, int]
    failed: dict[str, Failure]
    other: tuple[Failure, ...]
    retrieve_url: str


NOTHING = StoreAnswer({}, {}, (), "")


def parse_answer(body: bytes) -> StoreAnswer:
    """The answer in the body of a response.

    Raises:
        InvalidDataSetError: it holds no data set.
    """
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    try:
        found = _from_xml(text) if text[:1] == b"<" else _from_json(text)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise InvalidDataSetError("the peer's answer is no data set in JSON or XML") from None
    stored: dict[str, int] = {}
    failed: dict[str, Failure] = {}
    other: list[Failure] = []
    url = ""
    for data_set in found:
        url = url or _text(data_set, RETRIEVE_URL)
        for item in _items(data_set, REFERENCED_SOP_SEQUENCE):
            stored[_uid(item)] = _number(item, WARNING_REASON, 0)
        for item in _items(data_set, FAILED_SOP_SEQUENCE):
            failure = _failure(item)
            if _uid(item):
                failed[_uid(item)] = failure
            else:
                other.append(failure)
        other += [_failure(item) for item in _items(data_set, OTHER_FAILURES_SEQUENCE)]
    for uid in ("", *failed):  # what is said to have failed and to be stored is not stored
        stored.pop(uid, None)
    return StoreAnswer(stored, failed, tuple(other), url)


def describe_reason(reason: int) -> str:
    """What a failure or warning reason means, with its number."""
    if reason == TRANSFER_SYNTAX_NOT_SUPPORTED:
        return "refused, transfer syntax not supported (C122H)"
    return describe(reason, "storage")


def _failure(item: _Item) -> Failure:
    reason = _number(item, FAILURE_REASON, PROCESSING_FAILURE)
    return Failure(reason or PROCESSING_FAILURE, _text(item, ERROR_COMMENT)[:_LONGEST_COMMENT])


def _uid(item: _Item) -> str:
    return clean_uid(_text(item, REFERENCED_SOP_INSTANCE_UID).encode("ascii", "replace"))


def _items(data_set: _Item, tag: str) -> list[_Item]:
    value = data_set.get(tag)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(data_set: _Item, tag: str) -> str:
    value = data_set.get(tag)
    return value if isinstance(value, str) else ""


def _number(data_set: _Item, tag: str, default: int) -> int:
    text = _text(data_set, tag)
    return int(text) & 0xFFFF if text.isascii() and text.isdecimal() and len(text) <= 6 else default


# --- JSON (PS3.18 F) ---------------------------------------------------------------------------------------------


def _from_json(body: bytes) -> list[_Item]:
    found = json.loads(body)
    return [_json_item(one) for one in (found if isinstance(found, list) else [found])]


def _json_item(found: dict[str, Any], depth: int = 0) -> _Item:
    """A data set, two levels of it: the sequences of an answer hold none that matter."""
    item: _Item = {}
    for tag, attribute in found.items():
        values = attribute.get("Value") if isinstance(attribute, dict) else None
        if not isinstance(values, list) or not values:
            continue
        if isinstance(values[0], dict):
            if depth == 0:
                item[tag.upper()] = [_json_item(value, 1) for value in values if isinstance(value, dict)]
        elif isinstance(values[0], (str, int)):
            item[tag.upper()] = str(values[0]).strip()
    return item


# --- XML (PS3.19 A.1) --------------------------------------------------------------------------------------------


def _from_xml(body: bytes) -> list[_Item]:
    if b"<!" in body.replace(b"<!--", b""):  # no DTD, so no entities
        raise ValueError
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        root = fromstring(body)  # noqa: S314 - without a DTD
    except ParseError:
        raise ValueError from None
    if _name(root) != "NativeDicomModel":
        raise ValueError
    return [_xml_item(root)]


def _xml_item(parent: Iterable[Element], depth: int = 0) -> _Item:
    item: _Item = {}
    for attribute in parent:
        tag = attribute.get("tag", "").upper()
        items = [child for child in attribute if _name(child) == "Item"]
        if items and depth == 0:
            item[tag] = [_xml_item(child, 1) for child in items]
        elif not items:
            values = [child.text or "" for child in attribute if _name(child) == "Value"]
            if values:
                item[tag] = values[0].strip()
    return item


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]

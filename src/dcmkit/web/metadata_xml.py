"""Metadata as XML: a Native DICOM Model (PS3.19 A.1) for each instance, in parts, or by itself for one."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from dcmkit.dataset.elements import Element
from dcmkit.dataset.json_header import AVAILABLE_TRANSFER_SYNTAX_UID, bulk_path, data_set_of_file, is_bulk
from dcmkit.dataset.xml_model import to_native_xml
from dcmkit.errors import DcmkitError
from dcmkit.web.body_cache import gathered
from dcmkit.web.exchange import Reply, Request
from dcmkit.web.multipart import MultipartWriter, make_boundary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcmkit.archive.located import Located
    from dcmkit.web.metadata_fields import Fields
    from dcmkit.web.negotiation import Choice


def xml_reply(
    instances: list[Located], fields: Fields | None, choice: Choice, request: Request,
    headers: tuple[tuple[str, str], ...], etag: str, key: bytes,
) -> Reply:  # fmt: skip
    """The answer to a request for metadata in XML."""
    if not choice.multipart:
        body = native_xml(instances[0], fields, request.base_url)
        return Reply(200, body, choice.content_type(), headers, etag)
    boundary = make_boundary(key, etag)
    whole, rest = gathered(_parts(instances, fields, request.base_url, boundary))
    body_or_more = whole if rest is None else chain((whole,), rest)
    return Reply(200, body_or_more, choice.content_type(boundary), headers, etag)


def _parts(instances: list[Located], fields: Fields | None, base_url: str, boundary: str) -> Iterator[bytes]:
    writer = MultipartWriter(boundary)
    for one in instances:
        body = native_xml(one, fields, base_url)
        yield writer.head({"Content-Type": "application/dicom+xml"}, len(body))
        yield body
    yield writer.end()


def native_xml(one: Located, fields: Fields | None, base_url: str) -> bytes:
    """The document of an instance; of one that cannot be followed, what the index knows."""
    place = f"{base_url}/studies/{one.study}/series/{one.series}/instances/{one.instance}"
    try:
        data_set, bulk = data_set_of_file(one.path, one.offset, one.transfer_syntax_uid)
    except DcmkitError:
        uids = {0x00080016: one.sop_class_uid, 0x00080018: one.instance, 0x0020000D: one.study, 0x0020000E: one.series}
        data_set, bulk = {tag: Element("UI", uid) for tag, uid in uids.items()}, frozenset()
    data_set.setdefault(AVAILABLE_TRANSFER_SYNTAX_UID, Element("UI", one.transfer_syntax_uid))
    if fields is not None:
        data_set = fields.of(data_set)

    def uri(path: tuple[int, ...], element: Element) -> str:
        large = path[0] in bulk if len(path) == 1 else is_bulk(path[-1], element.vr, len(element.value))
        return f"{place}/bulkdata/{bulk_path(path)}" if large else ""

    return to_native_xml(data_set, bulk_data=uri).encode("utf-8", "replace")

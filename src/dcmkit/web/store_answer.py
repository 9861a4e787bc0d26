"""What a store request is answered with (PS3.18 10.5.3, Annex I.2): each object by itself, as JSON or XML."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, Element
from dcmkit.protocol.status import NOT_AUTHORIZED, WARNING, category
from dcmkit.web.exchange import warning_header
from dcmkit.web.identity import ForbiddenError
from dcmkit.web.negotiation import DICOM_JSON, DICOM_XML, JSON, ONE, PARTS, Offer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.web.exchange import Reply, Request
    from dcmkit.web.negotiation import Choice

OFFERS = (Offer(DICOM_JSON, forms=(ONE,)), Offer(DICOM_XML, forms=(ONE, PARTS)), Offer(JSON, forms=(ONE,)))
"""The data set of an answer: JSON, or XML without parts (PS3.18 10.5.3.2)."""

_ERROR_COMMENT = 0x00000902
_SOP_CLASS, _SOP_INSTANCE, _RETRIEVE_URL = 0x00081150, 0x00081155, 0x00081190
_WARNING_REASON, _FAILURE_REASON = 0x00081196, 0x00081197
_FAILED, _REFERENCED, _OTHER_FAILURES = 0x00081198, 0x00081199, 0x0008119A
_LONGEST_COMMENT = 64
"""Characters of an LO (PS3.5 6.2)."""


class Stored(NamedTuple):
    """What became of one object, or of a part that is none.

    Attributes:
        sop_class_uid, sop_instance_uid: as they were sent; "" where nobody can tell.
        study, series: where it can be retrieved; "" where it cannot, or is not to be told.
        status: 0, a warning reason (PS3.18 Table I.2-1), or a failure reason (Table I.2-2).
        comment: the same in words, without anything about a patient.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study: str = ""
    series: str = ""
    status: int = 0
    comment: str = ""

    @property
    def is_stored(self) -> bool:
        """With a warning, or without."""
        return not self.status or category(self.status) == WARNING


def reply_to(request: Request, choice: Choice, outcomes: Sequence[Stored]) -> Reply:
    """The answer.

    Raises:
        ForbiddenError: whoever asks may store none of it.
    """
    from dcmkit.web.exchange import Reply

    failures = [one for one in outcomes if not one.is_stored]
    if outcomes and len(failures) == len(outcomes) and all(one.status == NOT_AUTHORIZED for one in failures):
        raise ForbiddenError("not allowed for this study")
    headers: tuple[tuple[str, str], ...] = ()
    if failures:
        text = f"{len(failures)} of {len(outcomes)} were not stored: {failures[0].comment}"
        headers = (("Warning", warning_header(request.base_url, text)),)
    body, content_type = write(data_set_of(request, outcomes), choice)
    return Reply(status_of(outcomes), body, content_type, headers)


def status_of(outcomes: Sequence[Stored]) -> int:
    """The status of the answer (PS3.18 Table 10.5.3-1).

    Objects that failed, for whatever reason, a full disk too, are a conflict; parts that are no objects at all are bad
    syntax, where nothing else was sent.
    """
    stored = [one for one in outcomes if one.is_stored]
    if len(stored) < len(outcomes):
        return 202 if stored else 409 if any(one.sop_instance_uid for one in outcomes) else 400
    return 202 if any(one.status for one in stored) else 200


def data_set_of(request: Request, outcomes: Sequence[Stored]) -> DataSet:
    """The Store Instances Response Module (PS3.18 I.2)."""
    urls: dict[tuple[str, str], str] = {}
    referenced: list[DataSet] = []
    failed: list[DataSet] = []
    others: list[DataSet] = []
    for one in outcomes:
        item: DataSet = {}
        if one.sop_instance_uid:
            item[_SOP_CLASS] = Element("UI", one.sop_class_uid)
            item[_SOP_INSTANCE] = Element("UI", one.sop_instance_uid)
        if one.is_stored:
            if one.series:
                series = urls.get((one.study, one.series))
                if series is None:
                    series = request.url("studies", one.study, "series", one.series, "instances")
                    urls[one.study, one.series] = series
                item[_RETRIEVE_URL] = Element("UR", f"{series}/{one.sop_instance_uid}")
            if one.status:
                item[_WARNING_REASON] = Element("US", str(one.status))
            referenced.append(item)
        else:
            item[_FAILURE_REASON] = Element("US", str(one.status))
            (failed if one.sop_instance_uid else others).append(item)
        if one.comment:
            item[_ERROR_COMMENT] = Element("LO", one.comment.replace("\\", "/")[:_LONGEST_COMMENT])
    found: DataSet = {}
    studies = {one.study for one in outcomes if one.is_stored}
    if len(studies) == 1 and "" not in studies:
        found[_RETRIEVE_URL] = Element("UR", request.url("studies", *studies))
    for tag, items in ((_FAILED, failed), (_REFERENCED, referenced), (_OTHER_FAILURES, others)):
        if items:
            found[tag] = Element("SQ", items)
    return found


def write(data_set: DataSet, choice: Choice) -> tuple[bytes, str]:
    """The data set as it was chosen, and its Content-Type."""
    if choice.media_type == DICOM_XML:
        from dcmkit.dataset.xml_model import to_native_xml

        body = to_native_xml(data_set).encode()
        if not choice.multipart:
            return body, DICOM_XML
        from dcmkit.web.multipart import lay_out, make_boundary

        boundary = make_boundary(b"", body)
        pieces, _ = lay_out(boundary, [({"Content-Type": DICOM_XML}, len(body), [body])])
        return b"".join(pieces), choice.content_type(boundary)
    import json

    from dcmkit.dataset.json_model import to_json

    return json.dumps(to_json(data_set)).encode(), choice.content_type()

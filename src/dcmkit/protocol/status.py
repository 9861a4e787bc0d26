"""DIMSE statuses: which kind a status is, and what it means (PS3.7 Annex C, PS3.4 per service class)."""

from __future__ import annotations

SUCCESS, WARNING, FAILURE, CANCEL, PENDING = "success", "warning", "failure", "cancel", "pending"
"""The categories of PS3.7 Annex C."""

STATUS_SUCCESS = 0x0000
STATUS_CANCEL = 0xFE00
STATUS_PENDING = 0xFF00
STATUS_PENDING_WARNING = 0xFF01
"""Pending, but an optional key was not supported (PS3.4 C.4.1.1.4)."""

PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORIZED = 0x0124
DUPLICATE_INVOCATION = 0x0210
UNRECOGNIZED_OPERATION = 0x0211
MISTYPED_ARGUMENT = 0x0212
RESOURCE_LIMITATION = 0x0213

OUT_OF_RESOURCES = 0xA700
UNABLE_TO_CALCULATE_MATCHES = 0xA701
UNABLE_TO_PERFORM_SUB_OPERATIONS = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
COERCION_OF_DATA_ELEMENTS = 0xB000
SUB_OPERATIONS_WITH_FAILURES = 0xB000
ELEMENTS_DISCARDED = 0xB006
DATA_SET_DOES_NOT_MATCH_WARNING = 0xB007

_GENERAL = {
    0x0000: "success",
    0x0001: "requested optional attributes are not supported",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0113: "no such event type",
    0x0114: "no such argument",
    0x0115: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "class and instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "refused, SOP class not supported",
    0x0123: "no such action type",
    0x0124: "refused, not authorized",
    0x0210: "duplicate invocation (message ID in use)",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xFE00: "cancelled",
    0xFF00: "pending",
    0xFF01: "pending, an optional key is not supported",
}

_QUERY = {
    0xA700: "refused, out of resources",
    0xA710: "invalid prior record key",
    0xA900: "identifier does not match the SOP class",
    0xB001: "response limit reached, there may be more matches",
    0xC000: "unable to process",
    0xC100: "more than one match found",
    0xC200: "requested template is not supported",
}
_RETRIEVE = {
    0xA701: "refused, out of resources: cannot count the matches",
    0xA702: "refused, out of resources: cannot perform the sub-operations",
    0xA801: "refused, move destination unknown",
    0xA900: "identifier does not match the SOP class",
    0xAA00: "the SOP instance has none of the frames asked for",
    0xAA01: "cannot make a new SOP instance of this SOP class",
    0xAA02: "cannot extract frames",
    0xAA03: "the SOP instance is not time based, the request is",
    0xAA04: "invalid request",
    0xB000: "sub-operations finished with failures or warnings",
    0xC000: "unable to process",
}

_BY_SERVICE: dict[str, dict[int, str]] = {
    # PS3.4 B.2.3, and GG.4.2 for non-patient objects
    "storage": {
        0xA700: "refused, out of resources",
        0xA900: "data set does not match the SOP class",
        0xB000: "stored with data elements coerced",
        0xB006: "stored with data elements discarded",
        0xB007: "stored, but the data set does not match the SOP class",
        0xC000: "cannot understand the data set",
    },
    "find": _QUERY,  # PS3.4 C.4.1.1.4, K.4.1.1.4, Q.4
    "move": _RETRIEVE,  # PS3.4 C.4.2.1.5, Y.3
    "get": _RETRIEVE,  # PS3.4 C.4.3.1.4, Y.3, Z.3
    # PS3.4 CC.2
    "ups": {
        0xA700: "refused, out of resources",
        0xA900: "identifier does not match the SOP class",
        0xB300: "created with modifications",
        0xB301: "deletion lock not granted",
        0xB304: "already CANCELED",
        0xB305: "invalid values coerced to valid ones",
        0xB306: "already COMPLETED",
        0xC000: "unable to process",
        0xC300: "the procedure step may no longer be updated",
        0xC301: "wrong Transaction UID",
        0xC302: "already IN PROGRESS",
        0xC303: "only N-CREATE makes a procedure step SCHEDULED",
        0xC304: "the requirements of the final state are not met",
        0xC307: "no such procedure step",
        0xC308: "receiving AE title unknown",
        0xC309: "a procedure step must be created as SCHEDULED",
        0xC310: "not yet IN PROGRESS",
        0xC311: "already COMPLETED",
        0xC312: "the performer cannot be contacted",
        0xC313: "the performer chose not to cancel",
        0xC314: "the action does not suit this instance",
        0xC315: "event reports are not supported",
    },
    # PS3.4 H.4
    "print": {
        0xB600: "memory allocation is not supported",
        0xB601: "collation is not supported",
        0xB602: "the film session has no images (empty page)",
        0xB603: "the film box has no images (empty page)",
        0xB604: "image larger than its box, demagnified",
        0xB605: "requested density outside of the printer's range, the nearest is used",
        0xB609: "image larger than its box, cropped",
        0xB60A: "image larger than its box, decimated",
        0xC600: "the film session has no film boxes",
        0xC601: "print queue full",
        0xC602: "print queue full",
        0xC603: "image larger than its box",
        0xC605: "printer out of memory",
        0xC613: "combined print image larger than its box",
        0xC616: "an earlier film box has not been printed yet",
    },
}

_RANGES = {
    "storage": {0xA700: 0xFF, 0xA900: 0xFF, 0xC000: 0xFFF},
    "find": {0xC000: 0xFFF},
    "move": {0xC000: 0xFFF},
    "get": {0xC000: 0xFFF},
    "ups": {0xC000: 0xFFF},
}
"""Statuses whose low bits the implementation may choose: first of the range to the mask of those bits."""


def category(status: int) -> str:
    """One of the five categories; what PS3.7 leaves undefined counts as a failure, since nothing was promised."""
    if status == STATUS_SUCCESS:
        return SUCCESS
    if status in (STATUS_PENDING, STATUS_PENDING_WARNING):
        return PENDING
    if status == STATUS_CANCEL:
        return CANCEL
    if status in (0x0001, 0x0107, 0x0116) or status & 0xF000 == 0xB000:
        return WARNING
    return FAILURE


def describe(status: int, service: str = "storage") -> str:
    """What a status means, with its number: `refused, out of resources (A700H)`.

    Args:
        service: "storage", "find", "move", "get", "ups" or "print"; any other has the general statuses only.
    """
    meanings = _BY_SERVICE.get(service, {})
    text = meanings.get(status) or _GENERAL.get(status) or _meaning_of_range(status, service)
    return f"{text or category(status)} ({status:04X}H)"


def _meaning_of_range(status: int, service: str) -> str:
    for first, mask in _RANGES.get(service, {}).items():
        if status & ~mask == first:
            return _BY_SERVICE[service][first]
    return ""

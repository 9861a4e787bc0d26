"""The DICOM JSON model as text, without the objects in between: what `json.dumps` makes of `to_json`, in a third of the
time. For streams of many small data sets, such as the answers to a query.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dcmkit.dataset.elements import SINGLE_VRS, DataSet, Element

if TYPE_CHECKING:
    from collections.abc import Callable

_begun: dict[tuple[int, str], str] = {}
"""By tag and VR: the text up to the first value."""
_BEGUN_LIMIT = 4096
_PLAIN = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
"""One value of these without quotation marks, backslashes and control characters is itself."""
_SEVERAL = _PLAIN - SINGLE_VRS


def to_json_text(data_set: DataSet) -> str:
    """One object on one line, in Unicode."""
    parts = []
    for tag in sorted(data_set):
        element = data_set[tag]
        vr, value = element
        text = ""
        if value and isinstance(value, str) and value.isprintable() and '"' not in value:
            if "\\" in value:
                if vr in _SEVERAL and all(several := value.split("\\")):
                    text = '"' + '", "'.join(several) + '"'
            elif vr in _PLAIN:
                text = f'"{value}"'
            elif vr == "PN" and "=" not in value:
                text = f'{{"Alphabetic": "{value}"}}'
            elif vr == "IS" and value.isascii() and value.isdigit() and value[0] != "0" and len(value) < 16:
                text = value
        elif not value:
            parts.append(f'"{tag:08X}": {{"vr": "{vr}"}}')
            continue
        if text:
            parts.append(f"{_begun.get((tag, vr)) or _begin(tag, vr)}{text}]}}")
        else:
            parts.append(_by_model()(tag, element))
    return f"{{{', '.join(parts)}}}"


def _begin(tag: int, vr: str) -> str:
    if len(_begun) >= _BEGUN_LIMIT:
        _begun.clear()
    text = _begun[tag, vr] = f'"{tag:08X}": {{"vr": "{vr}", "Value": ['
    return text


@lru_cache(maxsize=1)
def _by_model() -> Callable[[int, Element], str]:
    """What writes any element. Importing `json` takes as long as a hundred answers, most of which do without."""
    from json import JSONEncoder

    from dcmkit.dataset.json_model import to_json

    encode = JSONEncoder(ensure_ascii=False, check_circular=False).encode
    return lambda tag, element: encode(to_json({tag: element}))[1:-1]

"""Which attributes of metadata are wanted: `includefield` and `excludeprivate`, which others have beyond PS3.18."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.dictionary import parse_tag

if TYPE_CHECKING:
    from dcmkit.dataset.elements import DataSet

_ALWAYS = frozenset({0x00080005, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E})
"""Character set, SOP class and the UIDs that say what it is all about."""
_MOST = 1000


class Fields(NamedTuple):
    """Attributes of the top level that are wanted.

    Attributes:
        tags: of them; None for all.
        public: no private ones.
        warnings: what could not be read.
    """

    tags: frozenset[int] | None
    public: bool
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The same for the same wish."""
        tags = "*" if self.tags is None else ",".join(f"{tag:08X}" for tag in sorted(self.tags))
        return f"{tags} {self.public}"

    def wants(self, tag: int) -> bool:
        """Whether an attribute is among them."""
        return (self.tags is None or tag in self.tags or tag in _ALWAYS) and not (self.public and tag >> 16 & 1)

    def of_json(self, body: bytes) -> bytes:
        """An object with these only."""
        found = {name: value for name, value in json.loads(body).items() if self.wants(int(name, 16))}
        if self.public:
            found = {name: _public(value) for name, value in found.items()}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def of(self, data_set: DataSet) -> DataSet:
        """A data set with these only."""
        found = {tag: element for tag, element in data_set.items() if self.wants(tag)}
        return _public_elements(found) if self.public else found


def _public(attribute: dict[str, object]) -> dict[str, object]:
    """An attribute; if it is a sequence, its items without private attributes."""
    values = attribute.get("Value")
    if attribute.get("vr") != "SQ" or not isinstance(values, list):
        return attribute
    items = [
        {name: _public(value) for name, value in item.items() if not int(name[:4], 16) & 1}
        for item in values
        if isinstance(item, dict)
    ]
    return {**attribute, "Value": items}


def _public_elements(data_set: DataSet) -> DataSet:
    return {
        tag: element._replace(value=[_public_elements(item) for item in element.value])
        if isinstance(element.value, list)
        else element
        for tag, element in data_set.items()
        if not tag >> 16 & 1
    }


def read_fields(wanted: Sequence[str], public: bool) -> Fields:
    """From the values of `includefield`, lists too; what is no attribute is ignored, with a warning."""
    names = [name.strip() for value in wanted for name in value.split(",")][:_MOST]
    tags: set[int] = set()
    unknown = 0
    for name in names:
        tag = parse_tag(name)
        if tag is not None:
            tags.add(tag)
        elif name and name.lower() != "all":
            unknown += 1
    everything = not tags or any(name.lower() == "all" for name in names)
    warnings = (f"{unknown} names in includefield are no attributes, and were ignored",) if unknown else ()
    return Fields(None if everything else frozenset(tags), public, warnings)

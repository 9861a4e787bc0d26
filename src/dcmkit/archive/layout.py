"""From an object's attributes to the path of its file, and never out of the archive.

Text from a peer becomes a path here and nowhere else. A UID is used only when it is one; any other value is made
safe, component by component. Uniqueness is not promised here: the store gives the second comer another name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256

from dcmkit.archive.attributes import (
    BY_KEYWORD,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Attribute,
)
from dcmkit.errors import InvalidDataSetError, UsageError

DEFAULT_LAYOUT = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"
MISSING = "unknown"
COMPONENT_LIMIT = 200
"""Bytes (UTF-8) of one component; file systems allow 255, and the store may add a suffix."""

_FIELD = re.compile(r"\{(\w+)(?::(\d{1,2}))?\}")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_UNSAFE = re.compile(
    '[/\\\\:*?"<>|\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd\ud800-\udfff]'
)
"""Separators, what Windows forbids, control characters, and characters that hide what a name says."""
_WINDOWS_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def is_safe_uid(text: str) -> bool:
    """Whether `text` may stand in a path as it is: digits and single dots, 64 characters at most (PS3.5 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


class Layout:
    """A compiled `--layout` template: components separated by `/`, with `{Keyword}` and `{Keyword:04}` in them.

    Args:
        template: for instance `{PatientID}/{StudyDate}/{Modality}{SeriesNumber:04}/{SOPInstanceUID}.dcm`.
        look_up: finds the attribute of a keyword that is no index key; raises UsageError for an unknown one.

    Attributes:
        attributes: what the template needs.
    """

    def __init__(self, template: str, look_up: Callable[[str], Attribute] | None = None) -> None:
        self.template = template
        self.attributes: tuple[Attribute, ...] = ()
        self._components = [self._compile(component, look_up) for component in template.split("/")]
        self.is_default = template == DEFAULT_LAYOUT

    def _compile(self, component: str, look_up: Callable[[str], Attribute] | None) -> list[str | tuple[Attribute, int]]:
        parts: list[str | tuple[Attribute, int]] = []
        pieces = _FIELD.split(component)
        for literal, keyword, width in zip(pieces[::3], [*pieces[1::3], None], [*pieces[2::3], None], strict=True):
            if "{" in literal or "}" in literal or _UNSAFE.search(literal):
                raise UsageError(f"layout: {component!r} cannot be a file name", hint="use {Keyword} or {Keyword:04}")
            if literal:
                parts.append(literal)
            if keyword is not None:
                attribute = BY_KEYWORD.get(keyword) or (look_up and look_up(keyword))
                if not attribute or attribute.sequence:
                    raise UsageError(f"layout: {keyword!r} is not an attribute")
                self.attributes += (attribute,)
                parts.append((attribute, int(width or 0)))
        if not parts or (len(parts) == 1 and isinstance(parts[0], str) and not parts[0].strip(". ")):
            raise UsageError(f"layout: {self.template!r} has an empty component", hint="it is relative to the archive")
        return parts

    def path(self, values: Mapping[int, str]) -> str:
        """The path for an object, relative to the archive, with `/` between components.

        Args:
            values: the object's attributes as text, by tag.

        Raises:
            InvalidDataSetError: a UID the path needs is none.
        """
        if self.is_default:
            return (
                f"{_uid(values, STUDY_INSTANCE_UID)}/{_uid(values, SERIES_INSTANCE_UID)}"
                f"/{_uid(values, SOP_INSTANCE_UID)}.dcm"
            )
        return "/".join(
            [safe_component("".join([_text(values, part) for part in component])) for component in self._components]
        )


def _uid(values: Mapping[int, str], tag: int) -> str:
    uid = values.get(tag)
    if not uid:
        return MISSING
    if not is_safe_uid(uid):
        raise InvalidDataSetError("a UID in the data set is not a UID", offending_element=tag)
    return uid


def _text(values: Mapping[int, str], part: str | tuple[Attribute, int]) -> str:
    if isinstance(part, str):
        return part
    attribute, width = part
    if attribute.vr == "UI":
        return _uid(values, attribute.tag)
    value = values.get(attribute.tag, "")
    if width:
        number = value or "0"
        return number.zfill(width) if number.lstrip("+-").isdigit() else number
    return value or MISSING


def safe_component(text: str) -> str:
    """`text` as one component of a path on any system; the same text always gives the same component."""
    name = _UNSAFE.sub("_", text).strip(" ")
    if name.endswith("."):
        name = name.rstrip(". ") + "_"
    if name[:1] in (".", "-", "~"):
        name = "_" + name[1:]
    if not name.strip("_. "):
        name = name or MISSING
    if _WINDOWS_DEVICE.fullmatch(name):
        name = "_" + name
    return _shortened(name, text)


def _shortened(name: str, text: str) -> str:
    """`name` cut to COMPONENT_LIMIT bytes, with a hash of `text` in place of what is cut; its extension stays."""
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= COMPONENT_LIMIT:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or not 0 < len(extension) <= 8 or not extension.isalnum():
        stem, extension = name, ""
    else:
        extension = "." + extension
    tail = "~" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] + extension
    room = COMPONENT_LIMIT - len(tail.encode())
    return stem.encode("utf-8", "replace")[:room].decode("utf-8", "ignore").rstrip(" .") + tail


def with_suffix(path: str, suffix: str) -> str:
    """`a/b.dcm` and `~2` to `a/b~2.dcm`."""
    directory, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem:
        stem, extension = name, ""
    return f"{directory}{slash}{stem}{suffix}{dot if extension else ''}{extension}"

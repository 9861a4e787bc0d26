"""The data dictionary (PS3.6), asked for the rare keyword; imports pydicom when called."""

from __future__ import annotations


def look_up(keyword: str) -> tuple[int, str] | None:
    """Tag and VR of a keyword, or None."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword) if keyword else None
    if tag is None:
        return None
    return int(tag), str(dictionary_VR(tag)).split(" or ")[0]

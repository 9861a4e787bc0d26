"""The index keys: complete by the standard, and true to its dictionary."""

from __future__ import annotations

from collections import Counter

import pytest

from dcmkit.archive.attributes import ATTRIBUTES, BY_KEYWORD, BY_LEVEL, LEVELS, WANTED


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda attribute: attribute.keyword)
def test_tag_and_vr_are_those_of_the_dictionary(attribute):
    from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag

    sequence, _, keyword = attribute.keyword.rpartition("_")
    assert keyword_for_tag(attribute.tag) == keyword
    assert dictionary_VR(attribute.tag) == attribute.vr
    assert keyword_for_tag(attribute.sequence) == sequence if attribute.sequence else not sequence
    if not attribute.sequence:
        assert attribute.multiple == (dictionary_VM(attribute.tag) != "1")


def test_every_unique_and_required_key_of_the_information_models():
    """PS3.4 tables C.6-1 to C.6-5."""
    assert {
        "PatientID", "PatientName", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyInstanceUID",
        "Modality", "SeriesNumber", "SeriesInstanceUID", "InstanceNumber", "SOPInstanceUID",
    } <= BY_KEYWORD.keys()  # fmt: skip


def test_keywords_are_used_once():
    assert Counter(attribute.keyword for attribute in ATTRIBUTES).most_common(1)[0][1] == 1
    assert sum(len(BY_LEVEL[level]) for level in LEVELS) == len(ATTRIBUTES)
    assert {attribute.sequence or attribute.tag for attribute in ATTRIBUTES} == WANTED

"""The text is what json.dumps makes of the model, whatever is in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset import json_text
from dcmkit.dataset.elements import BYTES_VRS, VRS, DataSet, Element
from dcmkit.dataset.json_model import to_json
from dcmkit.dataset.json_text import to_json_text

TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(
        ["", "1", "0", "007", "1234567890123456", "-5", "1\\2", "a=b", '"', "\\", "\x1b[0m", "1.5", "\u202e", "²"]
    ),
)
NUMBERS = {"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"}
TEXT_VRS = sorted(VRS - BYTES_VRS - NUMBERS - {"SQ"})


def elements(items: st.SearchStrategy[DataSet]) -> st.SearchStrategy[Element]:
    return st.one_of(
        st.builds(Element, st.sampled_from(TEXT_VRS), TEXTS),
        st.builds(Element, st.sampled_from(sorted(NUMBERS - {"AT"})), st.integers(0, 99).map(str)),
        st.builds(Element, st.sampled_from(sorted(BYTES_VRS)), st.binary(max_size=8)),
        st.builds(Element, st.just("SQ"), st.lists(items, max_size=2)),
    )


DATA_SETS = st.recursive(
    st.dictionaries(
        st.integers(0x00080000, 0x0020FFFF), st.builds(Element, st.sampled_from(TEXT_VRS), TEXTS), max_size=4
    ),
    lambda items: st.dictionaries(st.integers(0x00080000, 0x0020FFFF), elements(items), max_size=4),
    max_leaves=6,
)


@given(DATA_SETS)
def test_the_text_is_that_of_the_model(data_set):
    assert to_json_text(data_set) == json.dumps(to_json(data_set), ensure_ascii=False)


def test_an_answer():
    answer = {0x0020000D: Element("UI", "1.2.3"), 0x00100010: Element("PN", "Hüfte^A"), 0x00201208: Element("IS", "12")}
    assert to_json_text(answer) == (
        '{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Hüfte^A"}]}, '
        '"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00201208": {"vr": "IS", "Value": [12]}}'
    )
    assert to_json_text({}) == "{}"


def test_what_is_remembered_has_a_limit(monkeypatch):
    monkeypatch.setattr(json_text, "_BEGUN_LIMIT", 10)
    for tag in range(0x00090000, 0x00090100):
        to_json_text({tag: Element("LO", "x")})
    assert len(json_text._begun) <= 10


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "a\x00b", "\ud800"])
def test_nothing_breaks_out_of_a_string(value):
    text = to_json_text({0x00100020: Element("LO", value)})
    assert json.loads(text)["00100020"]["Value"]

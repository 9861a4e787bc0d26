"""Information models: UIDs as the registry has them, levels, extended negotiation there and back."""

from __future__ import annotations

import pytest

from dcmkit.services.models import (
    BY_FIND,
    BY_GET,
    BY_MOVE,
    IMAGE,
    MODELS,
    PATIENT_ROOT,
    SERIES,
    STUDY,
    STUDY_ROOT,
    UNIQUE_KEYS,
    FindExtended,
    RetrieveExtended,
    decode_find_extended,
    decode_retrieve_extended,
    encode_extended,
)
from dcmkit.uids import name_of


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_registry_calls_the_sop_classes_so(model):
    for uid, operation in ((model.find, "FIND"), (model.move, "MOVE"), (model.get, "GET")):
        if uid:
            name = name_of(uid)
            assert name.endswith(operation)
            assert name.startswith(model.name.partition(" Without")[0])


def test_models_by_sop_class():
    assert BY_FIND["1.2.840.10008.5.1.4.1.2.1.1"] is PATIENT_ROOT
    assert BY_MOVE["1.2.840.10008.5.1.4.1.2.2.2"] is STUDY_ROOT
    assert "" not in BY_FIND
    assert "" not in BY_MOVE
    assert len(BY_GET) == len(MODELS)


def test_levels_above():
    assert STUDY_ROOT.above(IMAGE) == (STUDY, SERIES)
    assert STUDY_ROOT.above(STUDY) == ()
    assert all(level in UNIQUE_KEYS for model in MODELS for level in model.levels)


def test_extended_negotiation_there_and_back():
    wanted = FindExtended(relational=True, fuzzy=True)
    assert encode_extended(wanted) == b"\1\0\1\0\0"
    assert encode_extended(wanted, 3) == b"\1\0\1"
    assert decode_find_extended(b"\1\0\1\0\0") == wanted
    assert decode_retrieve_extended(encode_extended(RetrieveExtended(enhanced=True))) == RetrieveExtended(False, True)


@pytest.mark.parametrize("information", [b"", b"\0", b"\2", b"\0\0\0\0\0\1\1\1", b"\xff" * 64])
def test_odd_extended_negotiation_asks_for_nothing(information):
    assert decode_find_extended(information) == FindExtended()
    assert decode_retrieve_extended(information) == RetrieveExtended()

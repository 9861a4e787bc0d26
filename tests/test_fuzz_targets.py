"""The fuzz targets work, and a few hundred damaged inputs each find nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

FUZZ = Path(__file__).parent.parent / "fuzz"
COUNT = 400


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FUZZ / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mutation = load("mutation")
targets = load("targets")


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_and_mutations_find_nothing(name: str) -> None:
    target = targets.TARGETS[name]
    random = Random(name)
    for seed in target.seeds:
        target.run(seed)
    target.run(b"")
    for _ in range(COUNT):
        data = mutation.mutate(target.seeds, random)
        try:
            target.run(data)
        except Exception:
            print(f"the input: {data.hex()}")
            raise


def test_the_seeds_reach_the_decoders() -> None:
    """A seed that its decoder refuses teaches a fuzzer little."""
    for seed in targets.TARGETS["pdu"].seeds:
        targets.pdu.decode(seed[0], seed[1:])
    for seed in targets.TARGETS["command_set"].seeds:
        targets.message.decode(seed)
    for seed in targets.TARGETS["data_set"].seeds:
        syntax = targets.SYNTAXES[seed[0] % len(targets.SYNTAXES)]
        header = targets._scan(syntax, seed[2:], 64, skip=False)
        assert header is not None
        assert len(header.values) >= 6
    for seed in targets.TARGETS["elements"].seeds:
        assert targets.elements.decode(seed[1:], targets.SYNTAXES[seed[0] % 4])
    for seed in targets.TARGETS["json_model"].seeds:
        assert targets.from_json(targets.json.loads(seed))
    for seed in targets.TARGETS["pdata"].seeds:
        items, refused = targets._read_all(seed[1:], 10)
        assert items
        assert not refused


def test_a_finding_is_not_swallowed() -> None:
    with pytest.raises(AssertionError, match="does not hold: this"):
        targets.check(False, "this")

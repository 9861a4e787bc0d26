"""`dcmkit anonymize` over the planted corpus: nothing leaks, nothing is done wrongly, nothing breaks.

The scorer shares no code and no table with the tool. Each option alone, and several together.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deid import scorer
from tests.deid.planted import corpus
from tests.deid.scoring import facts, tree

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = (
    ("retain-uids", "retain-full-dates", "retain-device-identity", "retain-institution-identity",
     "retain-patient-characteristics", "retain-safe-private", "clean-descriptors", "clean-structured-content",
     "clean-graphics"),
    ("retain-modified-dates", "clean-descriptors", "retain-patient-characteristics", "retain-safe-private"),
    ("retain-modified-dates", "retain-device-identity", "clean-structured-content", "clean-graphics"),
)  # fmt: skip
ALONE = tuple(name for name in facts.METHODS if name.startswith(("retain", "clean")) and name not in {
    "clean-pixel-data", "clean-recognizable-visual-features"})  # fmt: skip

HASHES = (
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_512", "blake2b", "blake2s",
)  # fmt: skip


class Done(NamedTuple):
    """One run of the command."""

    exit_code: int
    talk: str
    report: dict[str, object]
    output: Path


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> corpus.Corpus:
    return corpus.build(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> Path:
    """Always the same one: of so many pseudonyms one may by chance look like a planted word."""
    path = tmp_path_factory.mktemp("key") / "study.key"
    path.write_text("5d" * 32 + "\n")
    return path


def _dcmkit(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dcmkit", *map(str, words)]
    environment = os.environ | {"DCMKIT_CONFIG": os.devnull}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=100, check=False)


def anonymize(source: Path, output: Path, key: Path, *words: str) -> Done:
    """Run the command with a report."""
    report = output.with_suffix(".json")
    done = _dcmkit("anonymize", source, "-o", output, "--key", key, "--report", report, *words)
    return Done(done.returncode, done.stdout + done.stderr, json.loads(report.read_text()), output)


def flags(options: tuple[str, ...]) -> list[str]:
    return [f"--{option}" for option in options]


def tree_of(directory: Path) -> dict[str, bytes]:
    """All objects with what is in them."""
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*.dcm")}


@pytest.mark.parametrize("options", [(), *((option,) for option in ALONE), *TOGETHER], ids="+".join)
def test_nothing_is_wrong(planted, key, tmp_path, options):
    done = anonymize(planted.root, tmp_path / "out", key, *flags(options))
    held_back = planted.unsafe | planted.optional
    score = scorer.score(planted.root, done.output, options, done.report, may_stay_out=held_back, talk=done.talk)
    assert score.findings == [], score.text()
    assert score.files >= len(planted.files) - len(held_back)
    assert score.checked > 20_000
    assert planted.unsafe <= score.stayed_out.keys()
    assert done.exit_code not in {0, 1, 2}
    for path in (done.output, done.output.with_suffix(".json")):
        assert path.stat().st_mode & 0o077 == 0 or path.is_dir(), path


def test_runs_are_equal_whatever_the_order_and_number_of_workers(planted, key, tmp_path):
    one = anonymize(planted.root, tmp_path / "one", key, "--jobs", "1", "--no-verify")
    two = anonymize(planted.root, tmp_path / "two", key, "--jobs", "2", "--no-verify")
    assert tree_of(one.output) == tree_of(two.output)
    backwards = tmp_path / "three"
    report = tmp_path / "three.json"
    paths = sorted((path for path in planted.root.rglob("*") if path.is_file()), reverse=True)
    _dcmkit("anonymize", *paths, "-o", backwards, "--key", key, "--report", report, "--no-verify", "--jobs", "1")
    assert tree_of(backwards) == tree_of(one.output)


def digests(text: str) -> set[str]:
    """What eleven common hashes make of a text: hexadecimal, Base32, and the numbers that UIDs are made of."""
    found: set[str] = set()
    for name in HASHES:
        raw = hashlib.new(name, text.encode()).digest()
        found |= {raw.hex().upper()[:12], base64.b32encode(raw).decode()[:12]}
        found |= {str(int.from_bytes(raw[:16], order)) for order in ("big", "little")}
        found |= {str(int.from_bytes(raw, order))[:20] for order in ("big", "little")}
    return found


def test_without_the_key_no_pseudonym_is_found_again(planted, key, tmp_path):
    done = anonymize(planted.root, tmp_path / "out", key, "--no-verify")
    pseudonyms, olds = set(), set()
    for entry in done.report["files"]:
        if entry["status"] == "written":
            before, after = (tree.read(entry[place]).data_set for place in ("source", "output"))
            for tag in (0x0020000D, 0x0020000E, 0x00080018, 0x00100020, 0x00080050):
                olds.add(before.text(tag))
                pseudonyms.add(after.text(tag))
    assert len(pseudonyms) > 100
    known = set().union(*(digests(old) | digests(f"{old}\0") for old in olds))
    for pseudonym in pseudonyms:
        number = pseudonym.rpartition(".")[2]
        assert known.isdisjoint({pseudonym, pseudonym[:12], number, number[:20]}), pseudonym


def test_another_key_gives_other_pseudonyms(planted, key, tmp_path):
    other = tmp_path / "other.key"
    assert _dcmkit("anonymize", "keygen", other).returncode == 0
    names = []
    for place, secret in (("one", key), ("two", other)):
        done = anonymize(planted.root, tmp_path / place, secret, "--no-verify")
        names.append({part for name in tree_of(done.output) for part in Path(name).with_suffix("").parts})
    assert names[0]
    assert names[0].isdisjoint(names[1])

"""How a service de-identifies, from its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcmkit.cli.anonymized import AnonymizeSettings, anonymization_of
from dcmkit.deid import keys
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.errors import DcmkitError, InputError, UsageError


@pytest.fixture
def key(tmp_path: Path) -> str:
    keys.create(str(tmp_path / "key"))
    return str(tmp_path / "key")


def test_not_unless_asked() -> None:
    assert anonymization_of(AnonymizeSettings()) is None


def test_profile_key_and_rules(tmp_path: Path, key: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[tags]\nPatientID = "empty"\n')
    given = AnonymizeSettings(
        anonymize="basic,retain-uids", anonymize_key=key, anonymize_rules=str(rules), anonymize_verify=False
    )
    made = anonymization_of(given)
    assert made is not None
    assert made.plan.profile.options == ("retain-uids",)
    assert made.pseudonyms.uid("1.2") == Pseudonyms(keys.read(key)).uid("1.2")
    assert made.rules is not None
    assert 0x00100020 in made.rules.tags
    assert not made.verify


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"anonymize": "basic"}, UsageError, r"needs a key.*dcmkit anonymize keygen"),
        ({"anonymize": "basic,retain-everything", "anonymize_key": "KEY"}, UsageError, "retain-everything"),
        ({"anonymize": "basic", "anonymize_key": "none"}, InputError, "none cannot be read"),
        ({"anonymize": "basic", "anonymize_key": "KEY", "anonymize_rules": "none.toml"}, DcmkitError, r"none\.toml"),
        ({"anonymize_key": "KEY"}, UsageError, "--anonymize-key without --anonymize"),
        ({"anonymize_rules": "x"}, UsageError, "--anonymize-rules without --anonymize"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], error: type[DcmkitError], message: str, key: str) -> None:
    values = {name: key if value == "KEY" else value for name, value in given.items()}
    with pytest.raises(error) as caught:
        anonymization_of(AnonymizeSettings(**values))
    assert caught.match(message)

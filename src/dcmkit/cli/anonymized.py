"""The options of services that de-identify what they receive."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dcmkit.errors import UsageError
from dcmkit.settings import Settings, option

if TYPE_CHECKING:
    from dcmkit.services.anonymizing import Anonymization


class AnonymizeSettings(Settings):
    """What is done with objects before they are stored."""

    section: ClassVar[str] = "deidentification"
    title: ClassVar[str] = "de-identification options"

    anonymize: str = option(
        "", "--anonymize", metavar="PROFILE",
        help="take the identity out of objects before they are stored, by PS3.15 Annex E: basic, and names of options"
        " after commas, as dcmkit anonymize --list-profile shows them. What cannot be made safe is refused",
    )  # fmt: skip
    anonymize_key: str = option(
        "", "--anonymize-key", metavar="FILE", complete="file",
        help="the secret that pseudonyms are made with, from dcmkit anonymize keygen",
    )  # fmt: skip
    anonymize_rules: str = option(
        "", "--anonymize-rules", metavar="FILE", complete="file", help="TOML file of actions, words, regions"
    )
    anonymize_verify: bool = option(
        True, "--anonymize-verify", off_flags=("--no-anonymize-verify",),
        help="search what is to be stored for what was removed, and refuse it where that is found",
    )  # fmt: skip


def anonymization_of(settings: AnonymizeSettings) -> Anonymization | None:
    """What is done with objects, or None.

    Raises:
        UsageError: the profile, the key or the rules are none, or the key is missing.
        InputError: a file cannot be read.
    """
    if not settings.anonymize:
        for name in ("anonymize_key", "anonymize_rules"):
            if getattr(settings, name):
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} without --anonymize", hint="say --anonymize basic, for example")
        return None
    if not settings.anonymize_key:
        raise UsageError(
            "--anonymize needs a key, so that whoever comes twice has one pseudonym",
            hint="make one with: dcmkit anonymize keygen FILE, and say --anonymize-key FILE",
        )
    from dcmkit.deid import keys, profile, rules
    from dcmkit.deid.profile import Plan
    from dcmkit.deid.pseudonyms import Pseudonyms
    from dcmkit.services.anonymizing import Anonymization

    chosen = profile.parse(settings.anonymize)
    pseudonyms = Pseudonyms(keys.read(settings.anonymize_key), recording=False)
    read = rules.read(settings.anonymize_rules) if settings.anonymize_rules else None
    return Anonymization(Plan(chosen, read), pseudonyms, read, settings.anonymize_verify)

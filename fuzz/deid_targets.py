"""Targets of de-identification; `targets.py` enters them."""

from __future__ import annotations

import os
import tempfile

from dcmkit.dataset.elements import DataSet, Element, encode
from dcmkit.dataset.part10 import file_meta
from dcmkit.deid.batch import FAILED, Job, Worker
from dcmkit.deid.engine import Anonymizer, Source
from dcmkit.deid.output import Output
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

PROFILES = (
    "basic",
    "retain-modified-dates,clean-descriptors,clean-structured-content,clean-graphics,retain-safe-private",
    "retain-full-dates,retain-uids,retain-device-identity,retain-patient-characteristics",
)


def fuzz_anonymize(data: bytes) -> None:
    """A file, by a profile that the first byte chooses: it is written or held back, and what is written reads again."""
    if not data:
        return
    plan = Plan(parse(PROFILES[data[0] % len(PROFILES)]))
    pseudonyms = Pseudonyms(b"k" * 32, recording=False)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "in")
        with open(path, "wb") as file:
            file.write(data[1:])
        done = Worker(Job(plan, pseudonyms, Output(os.path.join(directory, "out")), detailed=True))(path)
        assert done.status != FAILED, done.reason
        if done.output and not done.directory:
            with Source(done.output) as source:
                Anonymizer(plan, pseudonyms)(source)


def _objects() -> list[bytes]:
    item: DataSet = {
        0x00080100: Element("SH", "S1"), 0x00080102: Element("SH", "99X"), 0x00080104: Element("LO", "Smith"),
    }  # fmt: skip
    content: DataSet = {
        0x0040A040: Element("CS", "TEXT"), 0x0040A043: Element("SQ", [item]), 0x0040A160: Element("UT", "Smith"),
    }  # fmt: skip
    whole: DataSet = {
        0x00080005: Element("CS", "ISO_IR 192"), 0x00080016: Element("UI", "1.2.840.10008.5.1.4.1.1.2"),
        0x00080018: Element("UI", "1.2.3"), 0x00080020: Element("DA", "20200131"), 0x0008002A: Element("DT", "2020"),
        0x00081030: Element("LO", "Head of Smith"), 0x00090010: Element("LO", "Philips Imaging DD 001"),
        0x00091003: Element("FL", "1"), 0x00100010: Element("PN", "Smith^J"), 0x00100020: Element("LO", "1"),
        0x00401101: Element("SQ", [item]), 0x0040A730: Element("SQ", [content, content]),
        0x60000102: Element("US", "12"), 0x60003000: Element("OW", b"\1\2"), 0x7FE00010: Element("OW", b"\1\2"),
    }  # fmt: skip
    return [
        bytes((number,)) + file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", syntax) + encode(whole, syntax)
        for number in range(len(PROFILES))
        for syntax in (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
    ]


RUNS = {"anonymize": (fuzz_anonymize, tuple(_objects()))}
"""Function and seeds by name."""

"""Hostile and faulty objects by C-STORE into a live listener with an archive (docs/hostile-inputs.md).

After every one of them another association's C-ECHO is answered, nothing is left on its way in, every visible file is
whole and in the index, and nothing has appeared outside the archive.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sqlite3
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmkit.archive import index
from dcmkit.archive.attributes import ATTRIBUTES
from dcmkit.archive.store import Archive
from dcmkit.dataset import scanner
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import NetworkError
from dcmkit.net.association import Association
from dcmkit.protocol import message as dimse
from dcmkit.protocol.message import C_STORE_RQ, C_STORE_RSP
from dcmkit.services.verification import echo
from dcmkit.settings import ArchiveSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.net.server import Rude, assert_alive, associate, pdv, rq
from tests.services.objects import (
    BIG_ENDIAN,
    CONTEXTS,
    CT,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ITEM,
    ITEM_END,
    MR,
    RLE,
    SEQUENCE_END,
    UNDEFINED,
    Site,
    answer,
    begin,
    element,
    fresh_uid,
    image,
    implicit_image,
    site,
    store,
    storescp,
    until,
)

pytestmark = pytest.mark.hostile

MEGABYTE = 1 << 20
SECONDS = 15.0
"""What the slowest object may take, on a busy machine and with memory traced; most take milliseconds."""

NOT_UNDERSTOOD, MISMATCH, OUT_OF_RESOURCES = 0xC000, 0xA900, 0xA700
INSTANCE, CLASS, STUDY, SERIES = 0x00080018, 0x00080016, 0x0020000D, 0x0020000E


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("around")) as running:
        yield running


@pytest.fixture
def here(shared: Site) -> Iterator[Site]:
    """The listener, which must be well afterwards."""
    yield shared
    assert_alive(shared.port)
    shared.assert_sound()


@contextmanager
def bounded(memory: int = 8 * MEGABYTE) -> Iterator[None]:
    """What happens inside takes little time and memory (bytes), on both sides together."""
    tracemalloc.start()
    began = time.monotonic()
    try:
        yield
        assert time.monotonic() - began < SECONDS
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()


def deflated(*parts: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    data = b"".join([compressor.compress(part) for part in parts]) + compressor.flush()
    return data + b"\0" * (len(data) % 2)


def head(uid: str) -> bytes:
    """A data set up to where its pixels would be."""
    data = image(uid)
    return data[: data.index(element(0x7FE00010, b"OW", b"\1\2\3\4"))]


# --- UIDs of the command and of the data set ---


@pytest.mark.parametrize(
    ("data", "command", "tag"),
    [
        (image("1.2.3.4"), ("1.2.3.5", CT), INSTANCE),
        (image("1.2.3.4", sop_class=MR), ("1.2.3.4", CT), CLASS),
        (image("1.2.3.4", sop_class=MR), ("1.2.3.5", CT), INSTANCE),
        (element(CLASS, b"UI", CT.encode()) + element(INSTANCE, b"UI", b"1.2.3.5") + image("1.2.3.4"), None, INSTANCE),
    ],
    ids=["instance", "class", "both", "repeated with another value"],
)
def test_uids_that_differ_are_refused(here: Site, data: bytes, command: tuple[str, str] | None, tag: int) -> None:
    uid, _ = command or ("1.2.3.5", CT)
    response = here.send(data, uid)
    assert (response.status, response.offending_element) == (MISMATCH, (tag,))
    assert response.error_comment
    assert here.rows(uid) == here.rows("1.2.3.4") == []


def test_uids_that_differ_are_stored_with_a_warning_where_set(tmp_path: Path) -> None:
    with site(tmp_path, on_mismatch="store") as own:
        assert own.send(image("1.2.3.4", sop_class=MR), "1.2.3.5").status == 0xB007
        (path,) = own.rows("1.2.3.4")
        header = read_file_header(path)
        assert (header.sop_instance_uid, header.sop_class_uid) == ("1.2.3.4", MR)
        for evil in ("../../1.2.3", "/tmp/1.2.3", "1.2\0.3"):
            assert own.send(image(evil), "1.2.3.6").status in (NOT_UNDERSTOOD, MISMATCH)
        assert own.files() == [path]
        own.assert_sound()
        assert_alive(own.port)


HOSTILE_UIDS = [
    "..",
    ".",
    "../../../../tmp/x",
    "..\\..\\x",
    "/etc/passwd",
    "/",
    "a/b",
    "1.2/3",
    "1.2\\3",
    "1.2\0.3",
    "1.2.3\0../../x",
    "C:\\x",
    "C:1.2.3",
    "\\\\server\\share",
    "$(touch x)",
    "`touch x`",
    "1.2;touch x",
    "1.2|cat",
    "1.2&&x",
    "*",
    "~root",
    "-rf",
    "%2e%2e%2f",
    "1..2",
    ".1.2",
    "1.2.",
    "1.2.a",
    "1 .2",
    "1.2\r\n3",
    "\x1b[2J\x1b]0;x\x07",
    "\u00b2.3",
    "CON",
    "9" * 300,
    "1." * 150 + "1",
    "",
]


@pytest.mark.parametrize("uid", HOSTILE_UIDS, ids=ascii)
def test_an_instance_uid_that_is_none(here: Site, uid: str, caplog: pytest.LogCaptureFixture) -> None:
    before = here.files()
    response = here.send(image(uid), uid)
    assert (response.status, response.offending_element) == (NOT_UNDERSTOOD, (INSTANCE,))
    assert here.files() == before
    (line,) = caplog.messages
    assert line.isprintable()
    assert len(line) < 500
    assert here.send(image(uid), "1.2.3.4.5").status in (NOT_UNDERSTOOD, MISMATCH)
    assert here.files() == before


@pytest.mark.parametrize("tag", [STUDY, SERIES, CLASS], ids=["study", "series", "class"])
@pytest.mark.parametrize("uid", HOSTILE_UIDS, ids=ascii)
def test_another_uid_that_is_none(here: Site, uid: str, tag: int) -> None:
    own = fresh_uid()
    data = image(
        own,
        sop_class=uid if tag == CLASS else CT,
        study=uid if tag == STUDY else "1.2.3",
        series=uid if tag == SERIES else "1.2.3.4",
    )
    response = here.send(data, own)
    if tag != CLASS and not uid:  # missing: not this gate's business
        assert response.status == 0
        return
    assert response.status in (NOT_UNDERSTOOD, MISMATCH)
    assert response.offending_element == (tag,)
    assert here.rows(own) == []


def test_a_hostile_class_on_the_wire_is_no_context(here: Site) -> None:
    association = here.associate()
    for sop_class in ("../..", "", "\x1b[2J", "9" * 300):
        assert store(association, image("1.2.3"), "1.2.3", sop_class=sop_class).status == 0x0122
    association.release()


def test_a_command_without_an_instance_uid(here: Site) -> None:
    command = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid=None).encode()
    with Rude(here.port) as rude:
        rude.associate(rq(CONTEXTS)).send(pdv(EXPLICIT, 3, command) + pdv(EXPLICIT, 2, image("1.2.3")))
        pdu_type, body = rude.read()
        assert pdu_type == 4
        response = dimse.decode(body[6:])
        assert isinstance(response, C_STORE_RSP)
        assert response.status == NOT_UNDERSTOOD


def test_a_layout_of_the_peers_own_words_stays_inside(tmp_path: Path) -> None:
    layout = "{PatientName}/{PatientID}/{StudyDescription}{Modality}/{SOPInstanceUID}"
    with site(tmp_path, layout=layout) as own:
        values = [uid.replace("\\", "/").encode() for uid in HOSTILE_UIDS if "\0" not in uid]
        values += [b"..", b"../..", b"\xff\xfe", b"a" * 60_000, b"NUL.txt", b"x. ", b"\xe2\x80\xae/gnp.exe"]
        for number, value in enumerate(values):
            uid = f"1.2.3.{number}"
            data = b"".join(
                (
                    element(CLASS, b"UI", CT.encode()),
                    element(INSTANCE, b"UI", uid.encode()),
                    element(0x00080060, b"CS", value),
                    element(0x00081030, b"LO", value),
                    element(0x00100010, b"PN", value),
                    element(0x00100020, b"LO", value),
                )
            )
            assert own.send(data, uid).status == 0
            (path,) = own.rows(uid)
            assert path.resolve().is_relative_to(own.root)
            relative = path.relative_to(own.root)
            assert len(relative.parts) == 4
            assert str(relative).isprintable()
            assert path.name == uid
        assert len(own.files()) == len(values)
        own.assert_sound()


# --- data sets that are none ---


@pytest.mark.parametrize("context_id", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, RLE])
def test_random_bytes(here: Site, context_id: int) -> None:
    chance = random.Random(context_id)
    before = here.files()
    association = here.associate()
    for size in (0, 1, 2, 7, 8, 9, 100, 5000, 300_000):
        for _ in range(5):
            response = store(association, chance.randbytes(size), "1.2.3.4.5", context_id=context_id)
            assert response.status in (NOT_UNDERSTOOD, MISMATCH)
            assert response.error_comment
            assert response.error_comment.isprintable()
    association.release()
    assert here.files() == before


def test_bytes_that_are_something_else(here: Site) -> None:
    association = here.associate()
    for data in (
        b"%PDF-1.7\n" * 50,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x89PNG\r\n\x1a\n" * 99,
        b"<?xml?>" * 99,
        bytes(9999),
    ):
        response = store(association, data, "1.2.3.4.5")
        assert response.status == NOT_UNDERSTOOD
    association.release()


def test_an_empty_data_set(here: Site) -> None:
    for context_id in (EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE):
        response = here.send(b"", "1.2.3.4.5", context_id=context_id)
        assert (response.status, response.error_comment) == (NOT_UNDERSTOOD, "the data set is empty")


def elements_of(data: bytes) -> list[int]:
    """Where an element ends in a data set of `image`."""
    ends, at = [], 0
    while at < len(data):
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN")
        length = struct.unpack_from("<L", data, at + 8)[0] if long else struct.unpack_from("<H", data, at + 6)[0]
        at += (12 if long else 8) + length
        ends.append(at)
    return ends


def test_truncated_anywhere(here: Site) -> None:
    """Cut inside an element it is refused; cut between two it is a shorter data set, no longer a broken one."""
    association = here.associate()
    whole = len(image(fresh_uid()))
    for cut in range(0, whole, 3):
        uid = fresh_uid()
        data = image(uid)
        response = store(association, data[:cut], uid)
        if response.status == 0:
            assert cut in elements_of(data)
            continue
        assert response.status == NOT_UNDERSTOOD
        assert response.error_comment
        assert (response.offending_element is not None) == (cut >= 8)
    association.release()


def test_an_image_without_a_uid(here: Site) -> None:
    uid = fresh_uid()
    for tag, value in ((INSTANCE, uid), (CLASS, CT)):
        for put in (b"", element(tag, b"UI", b"")):
            data = image(uid).replace(element(tag, b"UI", value.encode()), put)
            response = here.send(data, uid)
            assert (response.status, response.offending_element) == (NOT_UNDERSTOOD, (tag,))
    assert here.rows(uid) == []


def test_what_cannot_be_read_is_stored_bit_for_bit_where_set(tmp_path: Path) -> None:
    with site(tmp_path, on_invalid="store") as own:
        uid = fresh_uid()
        for data in (image(uid)[:-1], b"not a data set", random.Random(1).randbytes(5000)):
            assert own.send(data, uid).status == 0xB007
            path = own.rows(uid)[-1]
            assert path.read_bytes().endswith(data)
            assert path.is_relative_to(own.root)
            uid = fresh_uid()
        assert own.send(image("../x")[:-1], "../x").status == NOT_UNDERSTOOD
        assert own.outside() == []
        assert own.arriving() == []


# --- text ---

ESCAPES = b"\x1b[2J\x1b]0;owned\x07\r\nERROR: Doe \x9b31m\x00\x7f"


def test_text_that_would_steer_a_terminal(here: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Every text the index reads: stored as it came, and nothing of it in the log."""
    own = {INSTANCE, CLASS, STUDY, SERIES, 0x00080005}
    texts = sorted({a.tag: a.vr for a in ATTRIBUTES if a.tag not in own and not a.sequence}.items())
    uid = fresh_uid()
    data = b"".join(
        element(tag, vr.encode(), value)
        for tag, vr, value in sorted(
            [(tag, vr, ESCAPES) for tag, vr in texts]
            + [(INSTANCE, "UI", uid.encode()), (CLASS, "UI", CT.encode())]
            + [(STUDY, "UI", b"1.2.66"), (SERIES, "UI", b"1.2.66.1")]
        )
    )
    with caplog.at_level(logging.INFO, "dcmkit"):
        assert here.send(data, uid).status == 0
    assert here.data_set(uid) == data
    assert all(line.isprintable() for line in caplog.messages)
    assert "owned" not in caplog.text
    assert "Doe" not in caplog.text


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "StudyDescription", "SeriesNumber", "SOPInstanceUID"])
def test_a_value_of_a_megabyte(here: Site, keyword: str) -> None:
    """Implicit VR has room for it where explicit VR has not."""
    uid = fresh_uid()
    tag = next(a.tag for a in ATTRIBUTES if a.keyword == keyword)
    huge = element(tag, b"", (b"1234567\\" + ESCAPES) * (MEGABYTE // 37))
    if keyword == "SOPInstanceUID":
        response = here.send(
            implicit_image(uid).replace(element(tag, b"", uid.encode()), huge), uid, context_id=IMPLICIT
        )
        assert (response.status, response.offending_element) == (NOT_UNDERSTOOD, (INSTANCE,))
        return
    data = implicit_image(uid, huge, study=fresh_uid())
    with bounded():
        assert here.send(data, uid, context_id=IMPLICIT).status == 0
    assert here.data_set(uid) == data
    assert not here.indexed(uid, keyword)


def test_character_sets_that_are_none(here: Site) -> None:
    association = here.associate()
    for number, charset in enumerate(
        (b"NONE", b"\\".join([b"ISO 2022 IR 87"] * 500), b"\x1b\x1b\\", b"idna", b"utf_7")
    ):
        uid = fresh_uid()
        data = element(0x00080005, b"CS", charset) + element(CLASS, b"UI", CT.encode())
        data += element(INSTANCE, b"UI", uid.encode()) + element(0x00100010, b"PN", b"\x1b$B\xff\x1b(Z" * 99)
        data += element(STUDY, b"UI", f"1.2.77.{number}".encode())
        assert store(association, data, uid).status == 0
    association.release()


# --- structure ---


def nested(depth: int, *, closed: bool = True, tag: int = 0x00400275, vr: bytes = b"SQ") -> bytes:
    """Sequences of undefined length in each other."""
    opening = element(tag, vr, length=UNDEFINED) + element(ITEM, b"", length=UNDEFINED)
    closing = element(ITEM_END, b"") + element(SEQUENCE_END, b"")
    return opening * depth + closing * depth * closed


def in_each_other(depth: int, tag: int = 0x00400275) -> bytes:
    """Sequences of defined length in each other, from the outside in; implicit VR."""
    parts = []
    for level in range(depth, 0, -1):
        inside = (level - 1) * 16
        parts.append(element(tag, b"", length=inside + 8) + element(ITEM, b"", length=inside))
    return b"".join(parts)


@pytest.mark.parametrize("tag", [0x00400275, 0x00081032, 0x30060010], ids=["indexed", "indexed too", "not indexed"])
def test_twenty_thousand_nested_sequences(here: Site, tag: int) -> None:
    uid = fresh_uid()
    data = image(uid, nested(20_000, tag=tag))
    with bounded():
        assert here.send(data, uid).status == 0
    assert here.data_set(uid) == data
    uid = fresh_uid()
    data = implicit_image(uid, in_each_other(20_000, tag))
    with bounded():
        assert here.send(data, uid, context_id=IMPLICIT).status == 0
    assert here.data_set(uid) == data


def test_nested_without_an_end(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "DEPTH_LIMIT", 41_000)
    for depth, comment in ((20_000, "the data set is truncated"), (21_000, "sequences are nested too deeply")):
        data = image("1.2.3", nested(depth, closed=False))
        with bounded():
            response = here.send(data, "1.2.3")
        assert (response.status, response.offending_element) == (NOT_UNDERSTOOD, (0x00400275,))
        assert response.error_comment
        assert response.error_comment.startswith(comment)


def test_nested_in_deflated(here: Site) -> None:
    uid = fresh_uid()
    with bounded():
        assert here.send(deflated(image(uid, nested(20_000))), uid, context_id=DEFLATED).status == 0


@pytest.mark.parametrize(
    "sequence",
    [
        element(0x00081140, b"SQ", length=UNDEFINED),
        element(0x00081140, b"SQ", length=UNDEFINED) + element(ITEM, b"", length=UNDEFINED),
        element(0x00081140, b"SQ", length=UNDEFINED) + element(ITEM, b"", b"1234", length=5000),
        element(0x00081140, b"SQ", length=UNDEFINED) + element(ITEM, b"") * 10,
        element(0x00081140, b"SQ", length=UNDEFINED) + element(ITEM, b"", length=UNDEFINED) + element(ITEM_END, b""),
        element(0x00081140, b"UN", length=UNDEFINED) + element(ITEM, b"", length=UNDEFINED),
        element(0x7FE00010, b"OB", length=UNDEFINED) + element(ITEM, b"", b"1234"),
        element(0x7FE00010, b"OB", length=UNDEFINED) + element(ITEM, b"", length=UNDEFINED),
    ],
    ids=["bare", "item", "short item", "empty items", "item closed", "UN", "pixels", "undefined fragment"],
)
def test_a_sequence_that_never_ends(here: Site, sequence: bytes) -> None:
    uid = fresh_uid()
    response = here.send(image(uid, sequence), uid)
    assert response.status == NOT_UNDERSTOOD
    assert response.offending_element is not None
    assert here.rows(uid) == []


def test_items_without_end_take_no_memory(here: Site) -> None:
    """A peer that keeps sending: the disk is the limit, not the memory."""
    start = image("1.2.3", element(0x00400275, b"SQ", length=UNDEFINED))[: -len(element(0x7FE00010, b"OW", b"1234"))]
    items = element(ITEM, b"") * 32768
    association = here.associate()
    with bounded(MEGABYTE + MEGABYTE // 2):
        begin(association, "1.2.3")
        association.send_data_set(EXPLICIT, start, last=False)
        for _ in range(10):
            association.send_data_set(EXPLICIT, items, last=False)
        association.send_data_set(EXPLICIT, items, last=True)
        assert answer(association).status == NOT_UNDERSTOOD
    association.release()


@pytest.mark.parametrize("length", [0xFFFFFFFE, 0xFFFFFFF0, 0x80000000, 0x7FFFFFFF])
def test_an_element_that_claims_four_gigabytes(here: Site, length: int) -> None:
    liars = [
        (EXPLICIT, image("1.2.3", element(0x00420011, b"OB", b"1234", length=length))),
        (EXPLICIT, image("1.2.3", element(0x00420011, b"UN", b"1234", length=length))),
        (EXPLICIT, image("1.2.3", element(0x00400275, b"SQ", b"1234", length=length))),
        (EXPLICIT, image("1.2.3", element(0x00420011, b"UT", element(ITEM, b"", b"1", length=length), length=length))),
        (IMPLICIT, implicit_image("1.2.3", element(0x00324000, b"", b"1234", length=length))),
        (IMPLICIT, element(0x00100010, b"", b"Doe", length=length)),
        (DEFLATED, deflated(image("1.2.3", element(0x00420011, b"OB", b"1234", length=length)))),
        (RLE, head("1.2.3") + element(0x7FE00010, b"OB", length=UNDEFINED) + element(ITEM, b"", b"12", length=length)),
    ]
    with bounded():
        for context_id, data in liars:
            response = here.send(data, "1.2.3", context_id=context_id)
            assert response.status == NOT_UNDERSTOOD
            assert "truncated" in (response.error_comment or "")


@pytest.mark.parametrize(
    "odd",
    [
        element(0x00420011, b"ZZ", b"abcd"),
        element(0x00420011, b"ZZ\0\0", b"")[:8] + b"\4\0\0\0abcd",
        element(0x00420011, b"??", b"abcd"),
        element(0x00420011, b"LO", b"abc", length=3),
        element(0x00420011, b"OB", b"abcde", length=5),
        element(0x00420011, b"SQ", element(ITEM, b"", b"", length=0)),
        element(0x00280010, b"US", b"\1\0") + element(0x00180050, b"DS", b"1.5"),
        element(0x00100010, b"PN", b"Other^Name"),
        element(0x00420011, b"LO", b"a") * 3,
        element(0x00091001, b"UN", element(0x00080100, b"", b"code")),
        element(0x00091001, b"UN", length=UNDEFINED)
        + element(ITEM, b"", element(0x00080100, b"", b"code"))
        + element(SEQUENCE_END, b""),
        element(0x00091001, b"UN", length=UNDEFINED) + element(SEQUENCE_END, b""),
        element(0x00000000, b"UL", b"\0\0\0\0"),
        element(0x00000002, b"UI", b"1.2.840"),
        element(0xFFFFFFFF, b"LO", b"ab"),
        element(0xFFFCFFFC, b"OB", bytes(200)),
        element(ITEM_END, b""),
        element(SEQUENCE_END, b""),
        bytes(64),
    ],
    ids=[
        "unknown VR",
        "unknown VR, long",
        "question marks",
        "odd length",
        "odd bytes",
        "empty item",
        "descending",
        "repeated name",
        "repeated private",
        "UN",
        "UN, undefined length",
        "UN, empty sequence",
        "group 0000",
        "a command's element",
        "last tag of all",
        "padding",
        "stray item end",
        "stray sequence end",
        "zeros",
    ],
)
def test_what_is_legal_enough_is_stored(here: Site, odd: bytes) -> None:
    stored = 0
    for data_set in (lambda uid: image(uid, odd), lambda uid: odd + image(uid), lambda uid: image(uid) + odd):
        uid = fresh_uid()
        data = data_set(uid)
        response = here.send(data, uid)
        assert response.status in (0, NOT_UNDERSTOOD)
        stored += not response.status
        if response.status == 0:
            assert here.data_set(uid) == data
    assert stored


def test_an_item_outside_a_sequence_is_refused(here: Site) -> None:
    response = here.send(image("1.2.3", element(ITEM, b"", b"1234")), "1.2.3")
    assert (response.status, response.offending_element) == (NOT_UNDERSTOOD, (ITEM,))


def test_file_meta_information_inside_a_data_set_never_decides_how_it_is_read(here: Site) -> None:
    """Readers take group 0002 from the start of a file: a second one would overrule ours."""
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"):
        for meta in (
            element(0x00020010, b"UI", syntax.encode()),
            element(0x00020003, b"UI", b"1.2.3"),
            element(0x00020000, b"UL", b"\xff\0\0\0") + element(0x00020010, b"UI", syntax.encode()),
            bytes(128) + b"DICM" + element(0x00020010, b"UI", syntax.encode()),
        ):
            uid = fresh_uid()
            data = meta + image(uid)
            association = here.associate()
            begin(association, uid)
            association.send_data_set(EXPLICIT, data[:1], last=False)
            association.send_data_set(EXPLICIT, data[1:], last=True)
            response = answer(association)
            association.release()
            if response.status:
                assert response.status == NOT_UNDERSTOOD
                assert here.rows(uid) == []
                continue
            (path,) = here.rows(uid)
            header = read_file_header(path)
            assert (header.transfer_syntax_uid, header.sop_instance_uid) == (EXPLICIT_VR_LITTLE_ENDIAN, uid)
            assert path.read_bytes()[header.offset :] == data


@pytest.mark.parametrize(
    "filler",
    [
        element(0x00420011, b"LO"),
        element(0x00420011, b"ZZ", b"ab"),
        element(0x00400275, b"SQ"),
        element(0x00400275, b"SQ", length=UNDEFINED) + element(SEQUENCE_END, b""),
        element(0x00100010, b"PN", b"a^b"),
    ],
    ids=["empty", "unknown VR", "sequences", "undefined length", "repeated name"],
)
def test_hundreds_of_thousands_of_elements(here: Site, filler: bytes) -> None:
    """Time is linear in the bytes, whatever they are."""
    uid = fresh_uid()
    data = image(uid, filler * (MEGABYTE // len(filler)))
    with bounded():
        assert here.send(data, uid).status == 0
    assert here.data_set(uid) == data


# --- pixels ---


def test_a_deflated_bomb_is_stored_as_bytes(here: Site) -> None:
    uid = fresh_uid()
    data = deflated(head(uid), element(0x7FE00010, b"OW", length=100 * MEGABYTE), *[bytes(MEGABYTE)] * 100)
    assert len(data) < MEGABYTE / 5
    with bounded(16 * MEGABYTE):
        assert here.send(data, uid, context_id=DEFLATED).status == 0
    assert here.data_set(uid) == data


def test_a_deflated_bomb_beyond_the_limit_is_stored_as_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit nothing is inflated any more, whatever follows."""
    monkeypatch.setattr(scanner, "INFLATE_LIMIT", MEGABYTE)
    uid = fresh_uid()
    bomb = deflated(head(uid), *[element(0x00420011, b"LO") * 131072] * 64)
    with site(tmp_path) as own:
        with bounded(16 * MEGABYTE):
            assert own.send(bomb, uid, context_id=DEFLATED).status == 0
        assert own.data_set(uid) == bomb
        assert_alive(own.port)


def test_a_deflated_stream_that_is_damaged_or_cut(here: Site) -> None:
    data = deflated(image("1.2.3", element(0x00204000, b"LT", random.Random(3).randbytes(4000).hex().encode())))
    for broken in (data[:-100], data[: len(data) // 2], data[:50] + bytes(50) + data[100:], b"\x78\x9c" + data):
        response = here.send(broken, "1.2.3", context_id=DEFLATED)
        assert response.status == NOT_UNDERSTOOD
        assert "deflated" in (response.error_comment or "") or "truncated" in (response.error_comment or "")


def test_pixels_that_claim_the_earth_are_stored_as_bytes(here: Site) -> None:
    uid = fresh_uid()
    data = b"".join(
        (
            head(uid),
            element(0x00280002, b"US", b"\xff\xff"),
            element(0x00280008, b"IS", b"65535"),
            element(0x00280010, b"US", b"\xff\xff"),
            element(0x00280011, b"US", b"\xff\xff"),
            element(0x00280100, b"US", b"\xff\xff"),
            element(0x7FE00010, b"OB", length=UNDEFINED),
            element(ITEM, b""),
            element(ITEM, b"", struct.pack("<16L", 15, *[0xFFFFFFFF] * 15) + b"\x80" * 100),
            element(SEQUENCE_END, b""),
        )
    )
    with bounded():
        assert here.send(data, uid, context_id=RLE).status == 0
    assert here.data_set(uid) == data


def test_an_indexed_number_out_of_any_range(here: Site) -> None:
    uid = fresh_uid()
    numbers = (b"9" * 5000, b"-" + b"9" * 40, b"1e999", b"NaN", b"0x10", b"\xd9\xa3", b"--1")
    association = here.associate()
    for number in numbers:
        uid = fresh_uid()
        data = element(0x00280008, b"IS", number) + element(0x00200013, b"IS", number)
        assert store(association, image(uid, data), uid).status == 0
        assert here.indexed(uid, "InstanceNumber") is None, number
    association.release()


# --- the same instance again ---


def test_the_same_instance_again(here: Site) -> None:
    uid = fresh_uid()
    assert here.send(image(uid), uid).status == 0
    (path,) = here.rows(uid)
    facts = path.stat()
    assert here.send(image(uid), uid).status == 0
    assert here.rows(uid) == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (facts.st_ino, facts.st_mtime_ns)


def test_the_same_instance_with_other_content_is_never_silently_replaced(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    uid = fresh_uid()
    assert here.send(image(uid, pixels=b"old!"), uid).status == 0
    assert here.send(image(uid, pixels=b"new!"), uid).status == 0
    assert sorted(path.read_bytes()[-4:] for path in here.rows(uid)) == [b"new!", b"old!"]
    assert any(uid in line and "kept-both" in line for line in caplog.messages)


def together(here: Site, uid: str, data_sets: list[bytes]) -> list[int]:
    """The statuses of senders that begin at the same moment."""
    statuses: list[int] = []
    start = threading.Barrier(len(data_sets))

    def sender(data: bytes) -> None:
        association = here.associate()
        start.wait(10)
        statuses.append(store(association, data, uid).status)
        association.release()

    threads = [threading.Thread(target=sender, args=(data,)) for data in data_sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return statuses


def test_ten_senders_of_one_object_at_once(here: Site) -> None:
    uid = fresh_uid()
    assert together(here, uid, [image(uid, pixels=bytes(100_000))] * 10) == [0] * 10
    assert here.data_set(uid) == image(uid, pixels=bytes(100_000))
    assert len([path for path in here.files() if uid in path.name]) == 1


def test_ten_senders_of_one_uid_with_ten_contents_at_once(here: Site) -> None:
    uid = fresh_uid()
    contents = [image(uid, pixels=bytes((number,)) * 50_000) for number in range(10)]
    assert together(here, uid, contents) == [0] * 10
    paths = here.rows(uid)
    assert len(set(paths)) == 10
    assert sorted(path.read_bytes()[-1] for path in paths) == list(range(10))


# --- the disk and the index ---


def test_an_archive_without_permission(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere; tests/services/test_storage.py simulates it")
        own.root.chmod(0o500)
        try:
            response = own.send(image("1.2.3"), "1.2.3")
            assert response.status == OUT_OF_RESOURCES
            assert response.error_comment == "no permission to write to the archive"
        finally:
            own.root.chmod(0o700)
        assert own.send(image("1.2.3"), "1.2.3").status == 0
        own.assert_sound()


@pytest.mark.parametrize("durability", ["full", "file"])
def test_a_locked_index(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index, "BUSY_TIMEOUT", 0.05)
    with site(tmp_path, durability=durability) as own:
        association = own.associate()
        assert store(association, image("1.2.2"), "1.2.2").status == 0
        other = sqlite3.connect(own.archive.index.path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            response = store(association, image("1.2.3"), "1.2.3")
            assert (response.status, response.error_comment) == (OUT_OF_RESOURCES, "the index is locked")
            assert [path.name for path in own.files()] == ["1.2.2.dcm"]
            assert echo(association) < 5
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert store(association, image("1.2.3"), "1.2.3").status == 0
        association.release()
        own.assert_sound()
    assert "refused 1.2.3 from SCU with status 0xA700: the index is locked" in caplog.text


def test_a_locked_index_behind_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With durability none the row may come later, and does when the lock is gone."""
    monkeypatch.setattr(index, "BUSY_TIMEOUT", 0.05)
    with site(tmp_path, durability="none") as own:
        other = sqlite3.connect(own.archive.index.path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            association = own.associate()
            assert store(association, image("1.2.3"), "1.2.3").status == 0
            other.execute("ROLLBACK")
        finally:
            other.close()
        association.release()
        assert until(lambda: own.archive.index.find("1.2.3") != [])
        own.assert_sound()


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.with_name(path.name + "-wal").unlink(missing_ok=True)
    if how == "emptied":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2 + 100])
    elif how == "overwritten":
        path.write_bytes(random.Random(4).randbytes(len(data)))
    elif how == "text":
        path.write_bytes(b"this is not an index\n" * 500)
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:100] + random.Random(5).randbytes(len(data) - 100))


@pytest.mark.parametrize("how", ["emptied", "cut", "overwritten", "text", "gone", "all but the header"])
def test_a_corrupt_index_is_rebuilt_from_the_files_and_told(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    uids = [fresh_uid() for _ in range(20)]
    with site(tmp_path) as own:
        association = own.associate()
        for number, uid in enumerate(uids):
            assert store(association, image(uid, study=f"1.2.3.{number}"), uid).status == 0
        association.release()
        path = Path(own.archive.index.path)
    damage(path, how)
    caplog.clear()
    with site(tmp_path) as own:
        told = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert any("index" in record.getMessage() for record in told)
        for uid in uids:
            assert own.data_set(uid).startswith(element(0x00080005, b"CS", b"ISO_IR 100"))
        assert own.send(image(uids[0], study="1.2.3.0"), uids[0]).status == 0  # known again: the same is no duplicate
        assert len(own.rows(uids[0])) == 1
        own.assert_sound()


def test_an_index_that_is_damaged_while_it_is_in_use(tmp_path: Path) -> None:
    """Refused or stored, never a crash; the next start makes it good."""
    uids = [fresh_uid() for _ in range(5)]
    with site(tmp_path) as own:
        association = own.associate()
        assert store(association, image(uids[0]), uids[0]).status == 0
        for path in Path(own.archive.index.path).parent.glob("index.sqlite*"):
            with path.open("r+b") as file:
                file.write(random.Random(6).randbytes(path.stat().st_size))
        answers = [store(association, image(uid), uid) for uid in uids[1:]]
        assert {response.status for response in answers} <= {0, OUT_OF_RESOURCES}
        assert echo(association) < 5
        association.release()
        assert own.arriving() == []
    stored = [uid for uid, response in zip(uids[1:], answers, strict=True) if not response.status]
    with site(tmp_path) as own:
        for uid in (uids[0], *stored):
            assert own.data_set(uid) == image(uid)
        assert own.send(image(uids[4]), uids[4]).status == 0
        own.assert_sound()


def test_a_directory_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        association = own.associate()
        assert store(association, image("1.2.2"), "1.2.2").status == 0
        elsewhere = tmp_path / "unmounted"
        own.root.rename(elsewhere)
        response = store(association, image("1.2.3"), "1.2.3")
        assert (response.status, response.error_comment) == (OUT_OF_RESOURCES, "the archive's directory is gone")
        assert not own.root.exists() or own.files() == []
        elsewhere.rename(own.root)
        assert store(association, image("1.2.3"), "1.2.3").status == 0
        association.release()
        own.assert_sound()


# --- the end in mid-object ---


def half_sent(port: int, uid: str, data: bytes) -> Association:
    association = associate(port, *CONTEXTS)
    begin(association, uid)
    association.send_data_set(EXPLICIT, data[: len(data) // 2], last=False)
    return association


def on_its_way(around: Path) -> list[Path]:
    incoming = around / "archive" / ".dcmkit" / "incoming"
    return [path for path in incoming.rglob("*") if path.is_file() and path.name != "owner"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_in_mid_object(tmp_path: Path, workers: str) -> None:
    """What is on its way is finished, nothing new is begun, and the process ends well."""
    uid = fresh_uid()
    data = image(uid, pixels=bytes(MEGABYTE))
    with storescp(tmp_path, "--workers", workers) as server:
        association = half_sent(server.port, uid, data)
        assert until(lambda: bool(on_its_way(tmp_path)))
        os.kill(server.pid, signal.SIGTERM)
        assert until(lambda: not takes_connections(server.port))
        association.send_data_set(EXPLICIT, data[len(data) // 2 :], last=True)
        assert answer(association).status == 0
        with pytest.raises(NetworkError):
            association.receive()
        assert server.process.wait(20) == 0
    (path,) = [path for path in tmp_path.rglob("*.dcm") if ".dcmkit" not in path.parts]
    assert path.read_bytes().endswith(data)
    assert list((tmp_path / "archive" / ".dcmkit" / "incoming").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_second_signal_does_not_wait_for_a_peer_that_stalls(tmp_path: Path) -> None:
    uid = fresh_uid()
    with storescp(tmp_path) as server:
        association = half_sent(server.port, uid, image(uid, pixels=bytes(MEGABYTE)))
        assert until(lambda: bool(on_its_way(tmp_path)))
        os.kill(server.pid, signal.SIGTERM)
        assert until(lambda: not takes_connections(server.port))
        os.kill(server.pid, signal.SIGTERM)
        assert server.process.wait(20) in (0, 130)
        association.close()
    assert [path for path in tmp_path.rglob("*.dcm") if ".dcmkit" not in path.parts] == []
    assert on_its_way(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigkill_in_mid_object_and_another_start(tmp_path: Path) -> None:
    stored, begun = fresh_uid(), fresh_uid()
    with storescp(tmp_path) as server:
        association = associate(server.port, *CONTEXTS)
        assert store(association, image(stored), stored).status == 0
        other = half_sent(server.port, begun, image(begun, pixels=bytes(MEGABYTE)))
        assert until(lambda: bool(on_its_way(tmp_path)))
        server.kill()
        association.close()
        other.close()
    with Archive(ArchiveSettings(output_directory=str(tmp_path / "archive"))) as archive:
        assert on_its_way(tmp_path) == []
        assert len(archive.index.find(stored)) == 1
        assert archive.index.find(begun) == []
    assert [path.stem for path in tmp_path.rglob("*.dcm")] == [stored]


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def test_the_archive_is_what_it_was_after_all_this(shared: Site) -> None:
    """Opened anew by another process: nothing to repair, every file in the index."""
    shared.archive.flush()
    before = {path: shared.rows(read_file_header(path).sop_instance_uid) for path in shared.files()}
    with Archive(ArchiveSettings(output_directory=str(shared.root))) as again:
        for path, rows in before.items():
            uid = read_file_header(path).sop_instance_uid
            found = [shared.root / directory / name for directory, name, _ in again.index.find(uid)]
            assert found == rows
            assert path in found

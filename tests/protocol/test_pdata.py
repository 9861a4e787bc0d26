"""The lent buffer and P-DATA-TF (PS3.8 9.3.5, Annex E)."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.errors import ProtocolError
from dcmkit.protocol import pdata


def feed(reader: pdata.PDUReader, data: bytes) -> list[tuple[object, ...]]:
    """Everything the reader makes of `data`, views copied."""
    items: list[tuple[object, ...]] = []
    while data:
        lent = reader.lend()
        count = min(len(lent), len(data))
        lent[:count] = data[:count]
        reader.received(count)
        data = data[count:]
        while (item := reader.next()) is not None:
            if isinstance(item, pdata.ReceivedFragment):
                items.append((item.context_id, item.is_command, bytes(item.view), item.last))
            else:
                items.append(tuple(item))
    return items


def joined(items: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Items with neighbouring pieces of one fragment stream put together."""
    result: list[tuple[object, ...]] = []
    for item in items:
        if len(item) == 4 and result and len(result[-1]) == 4 and not result[-1][3] and result[-1][:2] == item[:2]:
            before = result.pop()
            item = (*item[:2], before[2] + item[2], item[3])  # type: ignore[operator]
        result.append(item)
    return result


PIECES = st.lists(
    st.tuples(st.integers(0, 127).map(lambda n: 2 * n + 1), st.booleans(), st.binary(max_size=300), st.booleans()),
    max_size=6,
)


@given(PIECES, st.integers(128, 400), st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=200)
def test_any_cut_of_the_bytes_gives_the_same_items(
    pieces: list[tuple[int, bool, bytes, bool]], maximum: int, cuts: list[int]
) -> None:
    size = pdata.fragment_size(maximum)
    data = b"".join(
        bytes(buffer)
        for context, command, value, last in pieces
        for buffer in pdata.pdata(context, value, size, is_command=command, last=last)
    )
    whole = feed(pdata.PDUReader(maximum), data)
    reader = pdata.PDUReader(maximum)
    cut_up = []
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in itertools.pairwise(bounds):
        cut_up += feed(reader, data[start:stop])
    assert joined(cut_up) == joined(whole)
    assert b"".join(item[2] for item in whole) == b"".join(value for _, _, value, _ in pieces)  # type: ignore[misc]
    assert not reader.in_pdu


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_garbage_gives_the_documented_error(data: bytes) -> None:
    try:
        feed(pdata.PDUReader(4096), data)
    except ProtocolError:
        pass


def test_no_byte_is_copied_on_the_way_out() -> None:
    data = bytearray(100_000)
    buffers = pdata.pdata(1, memoryview(data), pdata.fragment_size(16384), is_command=False)
    for view in buffers[1::2]:
        assert isinstance(view, memoryview)
        assert view.obj is data
    assert all(len(buffer) == 12 for buffer in buffers[::2])
    assert sum(map(len, buffers[1::2])) == len(data)


def test_no_pdu_is_longer_than_the_peer_takes() -> None:
    for maximum in (128, 4096, 4097, 16384, 131072):
        size = pdata.fragment_size(maximum)
        assert size % 2 == 0
        header = pdata.pdata(1, b"x" * 3 * size, size, is_command=False)[0]
        assert struct.unpack(">xxI", header[:6])[0] <= maximum
    assert pdata.fragment_size(0) > 100_000
    assert pdata.fragment_size(0, 4096) == 4090


def pdu(*pdvs: bytes) -> bytes:
    body = b"".join(pdvs)
    return struct.pack(">BxI", 4, len(body)) + body


def pdv(length: int, data: bytes = b"", context: int = 1, control: int = 3) -> bytes:
    return struct.pack(">IBB", length, context, control) + data


@pytest.mark.parametrize(
    "data",
    [
        pdu(),
        pdu(b"\0\0\0"),
        pdu(pdv(0)),
        pdu(pdv(1)),
        pdu(pdv(50, b"short")),
        pdu(pdv(4, b"ab") + b"\0\0\0"),
        struct.pack(">BxI", 4, 0xFFFFFFFF),
        struct.pack(">BxI", 1, 0xFFFFFFFF),
        struct.pack(">BxI", 0x47, 10),
        struct.pack(">BxI", 0, 10),
    ],
)
def test_lengths_that_lie_are_refused_at_once(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        feed(pdata.PDUReader(16384), data)


def test_several_pdvs_in_one_pdu_and_empty_fragments() -> None:
    data = pdu(pdv(4, b"ab", control=1), pdv(2, control=3), pdv(3, b"c", control=0), pdv(2, control=2))
    assert feed(pdata.PDUReader(16384), data) == [
        (1, True, b"ab", False),
        (1, True, b"", True),
        (1, False, b"c", False),
        (1, False, b"", True),
    ]


def test_a_pdu_over_the_announced_maximum_is_taken_up_to_the_cap() -> None:
    reader = pdata.PDUReader(4096)
    buffers = pdata.pdata(1, bytes(100_000), 100_000, is_command=False)
    items = feed(reader, b"".join(map(bytes, buffers)))
    assert sum(len(item[2]) for item in items) == 100_000  # type: ignore[arg-type]
    assert reader.oversized == 100_006


def test_other_protocols_are_named() -> None:
    with pytest.raises(ProtocolError, match="HTTP"):
        feed(pdata.PDUReader(), b"GET / HTTP/1.1\r\n")
    with pytest.raises(ProtocolError, match="TLS"):
        feed(pdata.PDUReader(), b"\x16\x03\x01\x02\x00\x01\x00\x01")


def test_what_was_received_before_may_end_anywhere() -> None:
    data = pdu(pdv(4, b"ab"))
    for cut in range(len(data) + 1):
        reader = pdata.PDUReader()
        reader.prime(data[:cut])
        first = reader.next()
        items = feed(reader, data[cut:])
        pieces = [bytes(first.view)] if isinstance(first, pdata.ReceivedFragment) else []
        assert b"".join(pieces) + b"".join(item[2] for item in items) == b"ab"  # type: ignore[misc]


def test_an_idle_reader_holds_no_buffer() -> None:
    reader = pdata.PDUReader()
    feed(reader, pdu(pdv(4, b"ab")))
    reader.drop_buffer()
    assert feed(reader, pdu(pdv(4, b"cd"))) == [(1, True, b"cd", True)]

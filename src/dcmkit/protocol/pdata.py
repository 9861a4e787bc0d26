"""The lent receive buffer, and P-DATA-TF both ways (PS3.8 9.3.5, Annex E). The hot loop of dcmkit.

Rules this file obeys:
- Pixels are never copied: the driver receives into `lend()`, and data set fragments leave as views of that memory.
- Nothing is allocated because a peer claims it: a PDU body other than P-DATA grows only as its bytes arrive.
- Any cut of the bytes gives the same sequence of items, but for where data set fragments are cut.
- `ProtocolError` is the one error out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from dcmkit.errors import ProtocolError

P_DATA_TF = 0x04

BUFFER_SIZE = 256 * 1024
"""Size of the lent buffer in bytes, once a peer has shown that it fills a small one."""

SMALL_BUFFER_SIZE = 16 * 1024
"""Size of the lent buffer of an association that has not sent much yet, in bytes."""

PDU_BODY_CAP = 1024 * 1024
"""Longest PDU other than P-DATA-TF, in bytes. 128 contexts with 60 transfer syntaxes each take about 200 kB."""

PDATA_LENGTH_CAP = 16 * 1024 * 1024
"""Longest P-DATA-TF tolerated from a peer that exceeds the announced maximum, in bytes."""

_PDU_HEADER = struct.Struct(">BxI")  # PS3.8 9.3.1: type, reserved, length
_PDV_HEADER = struct.Struct(">IBB")  # PS3.8 9.3.5.1: item length, context ID; E.2: message control header
_PDATA_HEADERS = struct.Struct(">BxIIBB")


class ReceivedPDU(NamedTuple):
    """A whole PDU other than P-DATA-TF: its type and what follows its 6 byte header."""

    pdu_type: int
    body: bytes


class ReceivedFragment(NamedTuple):
    """As much of a PDV as has arrived. `ends_pdv` with the control header's bits says what it completes."""

    context_id: int
    is_command: bool
    view: memoryview
    last: bool
    """The last bytes of the command set or data set (control header bit 1, on the end of the PDV)."""


class PDUReader:
    """Bytes in, PDUs and fragments out.

    Args:
        announced: the maximum length announced to the peer, in bytes.
    """

    __slots__ = (
        "_announced", "_body", "_body_left", "_body_type", "_buffer", "_context_id", "_control", "_end", "_in_pdv",
        "_pdu_left", "_pdv_left", "_size", "_start", "_view", "oversized",
    )  # fmt: skip

    def __init__(self, announced: int = BUFFER_SIZE) -> None:
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)
        self._size = SMALL_BUFFER_SIZE  # of the next buffer
        self._start = self._end = 0
        self._announced = announced
        self._pdu_left = 0  # bytes left of the current P-DATA-TF, the current PDV excluded
        self._pdv_left = 0  # bytes left of the current PDV's fragment
        self._in_pdv = False
        self._context_id = self._control = 0
        self._body: bytearray | None = None  # of a PDU other than P-DATA-TF that is still incomplete
        self._body_left = self._body_type = 0
        self.oversized = 0
        """The longest PDU received beyond the announced maximum, in bytes; 0 where there was none."""

    @property
    def in_pdu(self) -> bool:
        """Whether a PDU has begun and not ended."""
        return self._end > self._start or self._pdu_left > 0 or self._in_pdv or self._body is not None

    def lend(self) -> memoryview:
        """The memory to receive into, never empty. Ends the life of all views given out."""
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = 0
            if len(self._view) != self._size:
                self._buffer = bytearray(self._size)
                self._view = memoryview(self._buffer)
            return self._view
        if start:
            left = end - start  # less than a header: whatever else there is was taken
            self._view[:left] = self._buffer[start:end]
            self._start, self._end = 0, left
            end = left
        if end == len(self._view):  # what the reader was primed with is incomplete
            self._buffer = self._buffer + bytes(self._size)  # a new one: views of the old one may be about
            self._view = memoryview(self._buffer)
        return self._view[end:]

    def received(self, count: int) -> None:
        """`count` bytes were written at the start of what `lend` returned."""
        self._end += count
        if self._end == len(self._view):
            self._size = BUFFER_SIZE

    def prime(self, data: bytes) -> None:
        """`data` was received before there was a reader; to be called before anything else."""
        self._buffer = bytearray(data)
        self._view = memoryview(self._buffer)
        self._start, self._end = 0, len(data)

    def drop_buffer(self) -> None:
        """Give the buffer back to the system while the association is idle; `lend` makes a small new one."""
        if self._start == self._end:
            self._buffer = bytearray()
            self._view = memoryview(self._buffer)
            self._size = SMALL_BUFFER_SIZE
            self._start = self._end = 0

    def next(self) -> ReceivedFragment | ReceivedPDU | None:
        """The next item, or None when more bytes are needed.

        Raises:
            ProtocolError: lengths that lie, or beyond the caps.
        """
        while True:
            if self._in_pdv:
                return self._fragment()
            if self._pdu_left:
                if self._end - self._start < 6:
                    return None
                self._begin_pdv()
                continue
            if self._body is not None:
                return self._collect_body()
            start = self._start
            if self._end - start < 6:
                return None
            pdu_type, length = _PDU_HEADER.unpack_from(self._view, start)
            if pdu_type != P_DATA_TF:
                self._begin_body(pdu_type, length)
                continue
            self._start = start + 6
            self._begin_pdata(length)

    def _begin_pdata(self, length: int) -> None:
        if length > self._announced:
            if length > PDATA_LENGTH_CAP:
                raise ProtocolError(f"P-DATA-TF of {length} bytes, {self._announced} were announced as the maximum")
            self.oversized = max(self.oversized, length)
        if length < 6:
            raise ProtocolError(f"P-DATA-TF of {length} bytes has no presentation data value")
        self._pdu_left = length

    def _begin_pdv(self) -> None:
        length, self._context_id, self._control = _PDV_HEADER.unpack_from(self._view, self._start)
        self._start += 6
        left = self._pdu_left - length - 4
        if length < 2 or left < 0:
            raise ProtocolError(f"presentation data value of {length} bytes in a PDU with {self._pdu_left} bytes left")
        if 0 < left < 6:
            raise ProtocolError(f"{left} stray bytes after the last presentation data value")
        self._pdu_left = left
        self._pdv_left = length - 2
        self._in_pdv = True

    def _fragment(self) -> ReceivedFragment | None:
        start = self._start
        have = self._end - start
        want = self._pdv_left
        control = self._control
        if have >= want:  # the rest of the PDV is here
            self._start = stop = start + want
            self._pdv_left = 0
            self._in_pdv = False
            last = control & 2 != 0
        elif have:
            self._start = stop = self._end
            self._pdv_left = want - have
            last = False
        else:
            return None
        return ReceivedFragment(self._context_id, control & 1 != 0, self._view[start:stop], last)

    def _begin_body(self, pdu_type: int, length: int) -> None:
        if not 1 <= pdu_type <= 7:
            raise ProtocolError(f"unrecognized PDU type 0x{pdu_type:02X}", reason=1, hint=_other_protocol(pdu_type))
        if length > PDU_BODY_CAP:
            raise ProtocolError(f"PDU of type {pdu_type} claims {length} bytes, more than {PDU_BODY_CAP}")
        self._start += 6
        self._body = bytearray()
        self._body_left = length
        self._body_type = pdu_type

    def _collect_body(self) -> ReceivedPDU | None:
        body = self._body
        assert body is not None
        take = min(self._body_left, self._end - self._start)
        body += self._view[self._start : self._start + take]
        self._start += take
        self._body_left -= take
        if self._body_left:
            return None
        self._body = None
        return ReceivedPDU(self._body_type, bytes(body))


def _other_protocol(first_byte: int) -> str:
    """What else a peer may speak, by its first byte."""
    if first_byte in (0x15, 0x16):  # TLS records: alert, handshake
        return "the peer speaks TLS on this port"
    if 0x41 <= first_byte <= 0x5A:  # GET, POST, HTTP/1.1 ...
        return "the peer speaks HTTP on this port"
    return ""


def fragment_size(maximum_length: int, limit: int = 0) -> int:
    """How many bytes of a command set or data set go into one PDV, one PDV a PDU; always even (PS3.8 Annex E).

    Args:
        maximum_length: what the peer announced, in bytes; 0 is no limit (PS3.8 D.1).
        limit: our own limit on the PDU length, in bytes; 0 is none.
    """
    length = maximum_length or PDATA_LENGTH_CAP
    if limit:
        length = min(length, limit)
    return (min(length, 1024 * 1024) - 6) & ~1


def pdata(
    context_id: int, data: bytes | memoryview, size: int, *, is_command: bool, last: bool = True
) -> list[bytes | memoryview]:
    """`data` as P-DATA-TF PDUs, a list of buffers for `sendmsg`: header, slice, header, slice ... No byte is copied.

    Args:
        context_id: presentation context ID, odd, 1 to 255.
        data: the encoded command set, or a piece of the data set.
        size: bytes per fragment, from `fragment_size`.
        is_command: bit 0 of the message control header (PS3.8 E.2).
        last: bit 1, set on the last fragment made here.
    """
    total = len(data)
    control = 1 if is_command else 0
    end_control = control | 2 if last else control
    if total <= size:
        return [_PDATA_HEADERS.pack(P_DATA_TF, total + 6, total + 2, context_id, end_control), data]
    view = memoryview(data)
    header = _PDATA_HEADERS.pack(P_DATA_TF, size + 6, size + 2, context_id, control)
    buffers: list[bytes | memoryview] = []
    whole = (total - 1) // size  # full fragments before the last one
    for start in range(0, whole * size, size):
        buffers.append(header)
        buffers.append(view[start : start + size])
    rest = total - whole * size
    buffers.append(_PDATA_HEADERS.pack(P_DATA_TF, rest + 6, rest + 2, context_id, end_control))
    buffers.append(view[whole * size :])
    return buffers


def total_length(buffers: Sequence[bytes | memoryview]) -> int:
    """How many bytes a list of buffers holds."""
    return sum(map(len, buffers))

"""A DICOM file opened to be looked at: mapped into memory, its file meta and data set walked (`nodes`), not loaded."""

from __future__ import annotations

import mmap
import os
import sys
from types import TracebackType
from typing import NamedTuple

from dcmkit.dataset.elements import LONG_LENGTH_VRS, VRS
from dcmkit.dataset.nodes import STANDARD, Bytes, Encoding, How, Node, Walk
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

INFLATED_LIMIT = 128 << 20
"""Bytes a deflated data set may become."""
_PIECE = 1 << 20
_TRANSFER_SYNTAX_UID = 0x00020010
_IMPLICIT_SYNTAXES = frozenset((IMPLICIT_VR_LITTLE_ENDIAN, "1.2.840.113619.5.2"))


class Reading(NamedTuple):
    """How a file is opened.

    Attributes:
        bare: take it for a data set without file meta; None: only where it has no DICM prefix; False: never.
        transfer_syntax_uid: take this, whatever the file meta says; "" what it says, else what the bytes look like.
        detect: look at the bytes, whatever the file meta says.
        zlib: deflated data sets have a zlib header.
        how: see `nodes.How`.
    """

    bare: bool | None = None
    transfer_syntax_uid: str = ""
    detect: bool = False
    zlib: bool = False
    how: How = STANDARD


DEFAULT_READING = Reading()


class DumpFile:
    """One file. Use as a context manager.

    Attributes:
        has_meta: whether there is a file meta (False for what was read as a bare data set on request).
        meta, nodes: the elements of file meta and data set.
        raw, data: the bytes that `meta` and `nodes` point into; the same unless the data set is deflated.
        transfer_syntax_uid: of the data set.
        encoding: of the data set.
        errors: what is wrong with the file, if anything; `meta` and `nodes` are what comes before it.
        warnings: what was read otherwise than it says.
    """

    def __init__(self, path: str, reading: Reading = DEFAULT_READING) -> None:
        self.path = path
        self.errors: list[InvalidDataSetError] = []
        self.warnings: list[str] = []
        self._reading = reading
        self.raw: Bytes = _opened(path)
        self.data: Bytes = self.raw
        self.meta: list[Node] = []
        self.nodes: list[Node] = []
        self.transfer_syntax_uid = ""
        self.bare = reading.bare is True
        try:
            self._walk()
        except BaseException:
            self.close()
            raise

    def _walk(self) -> None:
        raw, reading = self.raw, self._reading
        prefix = 132 if raw[128:132] == b"DICM" else 4 if raw[:4] == b"DICM" else 0
        if reading.bare or (not prefix and reading.bare is None):
            prefix = 0
        elif not prefix:
            raise InvalidDataSetError("the file is not a DICOM file", hint="it lacks the DICM prefix")
        if not prefix and not _looks_like_data_set(raw[:8]):
            raise InvalidDataSetError("the file is not a DICOM file", hint="no data set begins where one should")
        pos = prefix
        if not self.bare and raw[pos : pos + 2] == b"\2\0":
            encoding = Encoding(explicit=_is_vr(raw[pos + 4 : pos + 6]))
            meta = Walk(raw, pos, len(raw), encoding, How(stop_after=reading.how.stop_after), group=2)
            self.meta, pos = meta.nodes, meta.end
            if meta.error:
                self.errors.append(meta.error)
                return
        self._walk_data_set(pos)

    def _walk_data_set(self, pos: int) -> None:
        reading, named = self._reading, self._named_syntax()
        self.transfer_syntax_uid = reading.transfer_syntax_uid or ("" if reading.detect else named)
        end = len(self.raw)
        if self.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            self.data, end = self._inflated(pos)
            pos = 0
        first = self.data[pos : pos + 8]
        if not self.transfer_syntax_uid:
            self.transfer_syntax_uid = _guessed(first)
        self.encoding = self._encoding(first)
        walk = Walk(self.data, pos, end, self.encoding, reading.how)
        self.nodes = walk.nodes
        if walk.error:
            self.errors.append(walk.error)

    def _named_syntax(self) -> str:
        for node in self.meta:
            if node.tag == _TRANSFER_SYNTAX_UID:
                return self.raw[node.start : min(node.end, node.start + 128)].decode("latin-1").strip(" \0")
        return ""

    def _encoding(self, first: bytes) -> Encoding:
        """As the transfer syntax says, unless the first element clearly is otherwise."""
        uid = self.transfer_syntax_uid
        if uid == EXPLICIT_VR_BIG_ENDIAN:
            return Encoding(big_endian=True)
        explicit = uid not in _IMPLICIT_SYNTAXES
        if self._reading.transfer_syntax_uid or len(first) < 8 or explicit == _is_vr(first[4:6]):
            return Encoding(explicit)
        if explicit and (first[4:6] in (b"??", b"  ", b"--") or first[4:6].isalpha()):
            return Encoding(explicit)
        self.warnings.append(f"the data set is in {'implicit' if explicit else 'explicit'} VR, against its file meta")
        return Encoding(not explicit)

    def _inflated(self, pos: int) -> tuple[mmap.mmap, int]:
        """The data set, and where it ends: in memory of its own that takes no more room than is written to."""
        import zlib

        inflater = zlib.decompressobj(zlib.MAX_WBITS if self._reading.zlib else -zlib.MAX_WBITS)
        found = mmap.mmap(-1, INFLATED_LIMIT)
        try:
            while pos < len(self.raw) and not inflater.eof:
                block = self.raw[pos : pos + 65536]
                while block and found.tell() < INFLATED_LIMIT:
                    found.write(inflater.decompress(block, min(_PIECE, INFLATED_LIMIT - found.tell())))
                    block = inflater.unconsumed_tail
                if found.tell() == INFLATED_LIMIT:
                    what = f"the deflated data set becomes longer than {INFLATED_LIMIT} bytes"
                    self.errors.append(InvalidDataSetError(f"{what} at offset {pos}"))
                    break
                pos += 65536
        except zlib.error as error:
            self.errors.append(InvalidDataSetError(f"the deflated data set is damaged at offset {pos}: {error}"))
        return found, found.tell()

    def close(self) -> None:
        """Let the file go."""
        for data in (self.raw, self.data):
            if isinstance(data, mmap.mmap):
                data.close()

    def __enter__(self) -> DumpFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(path: str) -> Bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                data = file.read()  # empty, or something like a pipe
                if not data:
                    raise InvalidDataSetError("the file is empty")
                return data
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the file cannot be read: {reason}") from None


def _is_vr(vr: bytes) -> bool:
    return vr.decode("latin-1") in VRS


def _looks_like_data_set(first: bytes) -> bool:
    """Whether it can be the first element of one: a VR, or a low group with a sensible length."""
    if len(first) < 8:
        return False
    if _is_vr(first[4:6]):
        return True
    group = int.from_bytes(first[:2], "little")
    return (0 < group <= 0x28 and int.from_bytes(first[4:8], "little") < 1 << 20) or first[:4] == b"\xfe\xff\0\xe0"


def _guessed(first: bytes) -> str:
    if len(first) < 8:
        return EXPLICIT_VR_LITTLE_ENDIAN
    if not _is_vr(first[4:6]):
        return IMPLICIT_VR_LITTLE_ENDIAN
    little, big = int.from_bytes(first[:2], "little"), int.from_bytes(first[:2], "big")
    if little <= big:
        return EXPLICIT_VR_LITTLE_ENDIAN
    length = first[6:8]
    if first[4:6].decode("latin-1") not in LONG_LENGTH_VRS and length[0] > length[1]:
        return EXPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN

"""Decoding what strangers sent: in a worker process, under a limit of time and memory.

Some codestreams keep a decoder busy for minutes, or make it ask for gigabytes; `decode_frame` finds most of them by
their headers, and what is left ends with the worker. Workers are started when they are needed, kept for the next frame,
and end with this process: they read their standard input to its end.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from dcmkit import errors, uids
from dcmkit.errors import DcmkitError, InvalidDataSetError, OutputError
from dcmkit.pixels import codestream, syntaxes
from dcmkit.pixels.codestream import Bytes
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription
from dcmkit.pixels.frames import Decoded, check_description

if TYPE_CHECKING:
    from collections.abc import Sequence

GIB = 1 << 30
_LENGTHS = struct.Struct("<IQ")
"""Of the header, in JSON, and of the bytes after it."""
_WORKING_COPIES = 3
"""Decoders hold a frame as 32-bit numbers beside the bytes they give back."""
_MAXIMUM_HEADER = 1 << 20
_START = "import sys; sys.path[:] = {path!r}; from dcmkit.pixels.guard_worker import main; main()"


def decode_guarded(
    data: Bytes,
    transfer_syntax_uid: str,
    description: PixelDescription,
    *,
    seconds: float = 10.0,
    memory: int = GIB,
) -> Decoded:
    """`codecs.decode_frame` in a worker process.

    Args:
        seconds: after which the worker is killed.
        memory: bytes that decoding may take beyond what an idle worker has; where the system can limit it.

    Raises:
        InvalidDataSetError: broken, truncated, contradicting, or more than the limits allow.
        UnsupportedSyntaxError: nothing here decodes it.
    """
    check_description(description)
    if transfer_syntax_uid in syntaxes.NATIVE:  # nothing is decoded: nothing can go wrong
        from dcmkit.pixels.codecs import decode_frame

        return decode_frame(data, transfer_syntax_uid, description)
    size = (
        description.rows * description.columns * description.samples_per_pixel * max(1, description.bits_allocated // 8)
    )
    if size * _WORKING_COPIES > memory:
        raise _over("memory", f"a frame of {size} bytes, where {memory} may be taken to decode it")
    if transfer_syntax_uid not in (
        syntaxes.ENCAPSULATED_UNCOMPRESSED,
        syntaxes.DEFLATED_FRAME,
        *syntaxes.PASSED_THROUGH,
    ):
        codestream.check(codestream.inspect(data, transfer_syntax_uid), description)
    request = {"syntax": transfer_syntax_uid, "description": list(description), "memory": memory}
    reply, frame = _pool.run(request, data, seconds)
    if reply is None:
        raise _over("time", f"the decoder of {uids.name_of(transfer_syntax_uid)} did not end within {seconds:g} s, "
                            "or not in order")  # fmt: skip
    return _decoded(reply, frame, description)


def _over(what: str, message: str) -> InvalidDataSetError:
    message = f"decoding a frame takes too much {what}: {message}"
    return InvalidDataSetError(message, hint="the codestream is broken or made to harm", offending_element=PIXEL_DATA)


def _decoded(reply: dict[str, Any], frame: bytearray, description: PixelDescription) -> Decoded:
    """What a worker answered; it may have been overcome, so nothing it says is trusted to be what it should."""
    import numpy as np

    try:
        if "error" in reply:
            kind = getattr(errors, str(reply["error"]), InvalidDataSetError)
            raise (kind if isinstance(kind, type) and issubclass(kind, DcmkitError) else InvalidDataSetError)(
                str(reply["message"])[:1000], hint=str(reply["hint"])[:1000]
            )
        shape = tuple(int(edge) for edge in reply["shape"])
        dtype = np.dtype(str(reply["dtype"]))
        if dtype.hasobject or shape[:2] != (description.rows, description.columns):
            raise ValueError
        array = np.frombuffer(frame, dtype).reshape(shape)
        return Decoded(array, str(reply["photometric_interpretation"]), int(reply["bits_stored"]),
                       bool(reply["signed"]), tuple(str(warning) for warning in reply["warnings"]))  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidDataSetError("a decoder ended in disorder", offending_element=PIXEL_DATA) from error


# --- messages between this process and a worker -------------------------------------------------------------------


def send(stream: IO[bytes], header: dict[str, Any], payload: Any = b"") -> None:
    """A header and bytes."""
    encoded = json.dumps(header).encode()
    view = memoryview(payload).cast("B")
    stream.write(_LENGTHS.pack(len(encoded), len(view)) + encoded)
    stream.write(view)
    stream.flush()


def receive(stream: IO[bytes], limit: int) -> tuple[dict[str, Any], bytearray] | None:
    """What `send` sent, up to `limit` bytes; None at the end of the stream, or where it is no message."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, length = _LENGTHS.unpack(lengths)
    if header_length > _MAXIMUM_HEADER or length > limit:
        return None
    encoded = stream.read(header_length)
    payload = bytearray(length)
    view, at = memoryview(payload), 0
    while at < length:
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            return None
        at += count
    try:
        header = json.loads(encoded)
    except ValueError:
        return None
    return (header, payload) if isinstance(header, dict) else None


class _Worker:
    """A process that decodes one frame after the other."""

    def __init__(self) -> None:
        command: Sequence[str] = [sys.executable, "-c", _START.format(path=[path for path in sys.path if path])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )
        self.is_ready = receive(self._out, 0) is not None

    @property
    def _in(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def run(self, request: dict[str, Any], data: Bytes, seconds: float) -> tuple[dict[str, Any], bytearray] | None:
        """The answer, or None when the worker is no more."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            send(self._in, request, data)
            return receive(self._out, 2 * request["memory"])
        except OSError:
            return None
        finally:
            timer.cancel()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Kill it where it does not end by itself at once; leave no zombie."""
        if self._process.poll() is None:
            self._process.kill()
        for stream in (self._in, self._out):
            try:
                stream.close()
            except OSError:
                pass
        self._process.wait()


class _Pool:
    """Idle workers; as many as there were frames at a time, as there are processors at most."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def run(
        self, request: dict[str, Any], data: Bytes, seconds: float
    ) -> tuple[dict[str, Any], bytearray] | tuple[None, bytearray]:
        worker = self._take()
        if not worker.is_ready:
            worker.end()
            raise OutputError("no process can be started to decode in", hint="the system is out of memory or processes")
        answer = worker.run(request, data, seconds)
        if answer is None:
            worker.end()
            return None, bytearray()
        self._give_back(worker)
        return answer

    def _take(self) -> _Worker:
        with self._lock:
            if self._owner != os.getpid():  # forked: those workers are the parent's
                self._owner, self._idle = os.getpid(), []
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    return worker
                worker.end()
        try:
            return _Worker()
        except OSError as error:
            raise OutputError(f"no process can be started to decode in: {error.strerror or error}") from None

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if len(self._idle) < (os.cpu_count() or 1):
                self._idle.append(worker)
                return
        worker.end()

    def close(self) -> None:
        """End all idle workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for worker in idle:
                worker.end()


_pool = _Pool()
atexit.register(_pool.close)


def close() -> None:
    """End the workers that wait; the next frame starts new ones."""
    _pool.close()

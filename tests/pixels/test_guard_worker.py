"""What a worker reads and answers, without a process."""

from __future__ import annotations

import io

import numpy as np
import pytest

from dcmkit.pixels import guard_worker, syntaxes
from dcmkit.pixels.codecs import encode_frame
from dcmkit.pixels.guard import receive, send

from .images import IMAGES, after

ARRAY, DESCRIPTION = IMAGES["12 bits"]


def answer(data: bytes, uid: str) -> tuple[dict[str, object], bytearray]:
    requests, answers = io.BytesIO(), io.BytesIO()
    send(requests, {"syntax": uid, "description": list(DESCRIPTION), "memory": 1 << 30}, data)
    requests.seek(0)
    assert guard_worker.serve(requests, answers)
    assert not guard_worker.serve(requests, answers)
    answers.seek(0)
    received = receive(answers, 1 << 30)
    assert received is not None
    return received


def test_a_frame() -> None:
    encoded = encode_frame(ARRAY, syntaxes.RLE, DESCRIPTION)
    header, frame = answer(encoded.data, syntaxes.RLE)
    assert header["bits_stored"] == 12
    assert after(DESCRIPTION, encoded) == DESCRIPTION
    assert np.array_equal(np.frombuffer(frame, str(header["dtype"])).reshape(ARRAY.shape), ARRAY)


def test_errors_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    header, frame = answer(b"", syntaxes.RLE)
    assert header["error"] == "InvalidDataSetError"
    assert not frame
    assert answer(b"", "1.2.3")[0]["error"] == "UnsupportedSyntaxError"
    for raised in (MemoryError, ZeroDivisionError):

        def defect(*_: object, error: type[BaseException] = raised) -> None:
            raise error

        monkeypatch.setattr("dcmkit.pixels.codecs.decode_frame", defect)
        assert answer(b"", syntaxes.RLE)[0]["error"] == "InvalidDataSetError"


def test_messages_that_are_none() -> None:
    whole = io.BytesIO()
    send(whole, {"a": 1}, b"12345")
    data = whole.getvalue()
    for end in range(len(data)):
        assert receive(io.BytesIO(data[:end]), 100) is None
    assert receive(io.BytesIO(data), 4) is None
    assert receive(io.BytesIO(data), 5) == ({"a": 1}, bytearray(b"12345"))
    assert receive(io.BytesIO(data.replace(b"{", b"[")), 5) is None
    assert receive(io.BytesIO(b"\xff" * 12), 1 << 62) is None


def test_the_limit_is_lifted_again() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    guard_worker.limit_memory(1 << 40)
    guard_worker.limit_memory(None)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    assert hard == before[1]
    assert soft == hard

"""The other side of `guard`: frames in by standard input, samples out by standard output, until the input ends."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

from dcmkit.errors import DcmkitError
from dcmkit.pixels.guard import GIB, receive, send

_MAXIMUM_REQUEST = 4 * GIB


def main() -> None:
    """Serve until the input ends. Libraries that print do not print into the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _prepare()
    send(answers, {"ready": True})
    while serve(sys.stdin.buffer, answers):
        pass


def _prepare() -> None:
    """Import what every frame needs before its time counts."""
    import imagecodecs
    import numpy  # noqa: F401

    from dcmkit.pixels import codecs  # noqa: F401

    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode", "htj2k_decode", "jpegxl_decode", "dicomrle_decode"):
        getattr(imagecodecs, name, None)


def serve(requests: IO[bytes], answers: IO[bytes]) -> bool:
    """Decode one frame; false when there is none."""
    received = receive(requests, _MAXIMUM_REQUEST)
    if received is None:
        return False
    request, data = received
    header, payload = decode(request, bytes(data))
    send(answers, header, payload)
    return True


def decode(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Any]:
    """The answer to a request: samples, or what is wrong."""
    from dcmkit.pixels.codecs import decode_frame
    from dcmkit.pixels.description import PixelDescription

    limit_memory(int(request["memory"]))
    try:
        decoded = decode_frame(data, request["syntax"], PixelDescription(*request["description"]))
    except DcmkitError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}, b""
    except MemoryError:
        return {"error": "InvalidDataSetError", "message": "decoding a frame takes too much memory",
                "hint": "the codestream is broken or made to harm"}, b""  # fmt: skip
    except Exception as error:  # a defect; the worker goes on
        return {"error": "InvalidDataSetError", "message": f"a decoder ended in disorder: {type(error).__name__}",
                "hint": ""}, b""  # fmt: skip
    finally:
        limit_memory(None)
    array = decoded.array
    header = {
        "shape": array.shape,
        "dtype": array.dtype.str,
        "photometric_interpretation": decoded.photometric_interpretation,
        "bits_stored": decoded.bits_stored,
        "signed": decoded.signed,
        "warnings": decoded.warnings,
    }
    return header, array.reshape(-1).view("u1")


def limit_memory(more: int | None) -> None:
    """Let this process take so many bytes more than it has now; None lifts the limit. Linux only."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = hard
        if more is not None:
            with open("/proc/self/statm", "rb") as statm:
                limit = int(statm.read().split()[0]) * resource.getpagesize() + more
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):
        return

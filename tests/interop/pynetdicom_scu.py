"""A storage SCU made of pynetdicom's AE: `python pynetdicom_scu.py PORT [--nodelay] [DIRECTORY]`.

Sends the own bytes of the files below DIRECTORY, else of those listed on stdin. Prints one line per file: status in
hexadecimal, a space, the path. Exit code 1 when any was not answered 0000. With --nodelay its socket gets TCP_NODELAY,
which it does not set itself.
"""

from __future__ import annotations

import socket
import sys
import warnings
from itertools import islice
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

CONTEXTS_PER_ASSOCIATION = 128


def associations(paths: list[str]) -> list[tuple[list[tuple[str, str]], list[str]]]:
    """The contexts and files of each association: at most 128 contexts in one (PS3.8 9.3.2)."""
    by_context: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True).file_meta
        by_context.setdefault((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID), []).append(path)
    entries, chunks = iter(by_context.items()), []
    while chunk := list(islice(entries, CONTEXTS_PER_ASSOCIATION)):
        chunks.append(([context for context, _ in chunk], [path for _, files in chunk for path in files]))
    return chunks


def main() -> int:
    """Send the files and tell how each fared."""
    warnings.simplefilter("ignore")
    _config.STORE_SEND_CHUNKED_DATASET = True
    port, *directories = (word for word in sys.argv[1:] if not word.startswith("--"))
    paths = [str(path) for directory in directories for path in sorted(Path(directory).rglob("*")) if path.is_file()]
    paths = paths or sys.stdin.read().splitlines()
    failed = 0
    for contexts, files in associations(paths):
        requested = [build_context(abstract, transfer) for abstract, transfer in contexts]
        association = AE(ae_title="PYNETDICOM").associate("127.0.0.1", int(port), requested, max_pdu=0)
        if not association.is_established:
            print("association refused")
            return 2
        if "--nodelay" in sys.argv:
            association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in files:
            try:
                status = association.send_c_store(path)
                code = status.Status if "Status" in status else 0xFFFF
            except (ValueError, RuntimeError, AttributeError) as error:
                print(f"{path}: {error}", file=sys.stderr)
                code = 0xFFFF
            failed += code != 0
            print(f"{code:04X} {path}", flush=True)
        association.release()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

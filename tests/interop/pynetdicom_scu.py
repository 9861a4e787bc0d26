"""A storage SCU made of pynetdicom's AE: `python pynetdicom_scu.py PORT < list of files`.

Sends the files' own bytes. Prints one line per file: status in hexadecimal, a space, the path. Exit code 1 when any was
not answered 0000. pynetdicom loses an association now and then when a peer answers very quickly; a file that got no
answer is sent once more over a new one.
"""

from __future__ import annotations

import sys
import warnings
from itertools import islice

from pydicom import dcmread
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

CONTEXTS_PER_ASSOCIATION = 128
NO_ANSWER = 0xFFFF
Context = tuple[str, str]


def associations(paths: list[str]) -> list[tuple[list[Context], list[str]]]:
    """The contexts and files of each association: at most 128 contexts in one (PS3.8 9.3.2)."""
    by_context: dict[Context, list[str]] = {}
    for path in paths:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True).file_meta
        by_context.setdefault((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID), []).append(path)
    entries, chunks = iter(by_context.items()), []
    while chunk := list(islice(entries, CONTEXTS_PER_ASSOCIATION)):
        chunks.append(([context for context, _ in chunk], [path for _, files in chunk for path in files]))
    return chunks


def associate(port: int, contexts: list[Context]) -> Association:
    """A new association."""
    requested = [build_context(abstract, transfer) for abstract, transfer in contexts]
    return AE(ae_title="PYNETDICOM").associate("127.0.0.1", port, requested, max_pdu=0)


def store(association: Association, path: str) -> int:
    """The status of one C-STORE."""
    try:
        status = association.send_c_store(path)
    except (ValueError, RuntimeError, AttributeError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return NO_ANSWER
    return int(status.Status) if "Status" in status else NO_ANSWER


def main() -> int:
    """Send the files and tell how each fared."""
    warnings.simplefilter("ignore")
    _config.STORE_SEND_CHUNKED_DATASET = True
    port, failed = int(sys.argv[1]), 0
    for contexts, files in associations(sys.stdin.read().splitlines()):
        association = associate(port, contexts)
        for path in files:
            code = store(association, path)
            if code == NO_ANSWER and not association.is_established:
                association = associate(port, contexts)
                code = store(association, path)
            failed += code != 0
            print(f"{code:04X} {path}", flush=True)
        association.release()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

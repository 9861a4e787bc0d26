"""A data set in an uncompressed transfer syntax, for peers that take nothing else (PS3.5 Annex A)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmkit.dataset.completeness import require_complete
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    is_encapsulated,
    name_of,
)

if TYPE_CHECKING:
    from dcmkit.dataset.part10 import FileHeader

_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes of a word of the VRs whose values are byte-swapped with the byte order (PS3.5 6.2)."""


def to_uncompressed(path: str, header: FileHeader, transfer_syntax_uid: str) -> bytes:
    """A file's data set, encoded in `transfer_syntax_uid`, with its pixel data decoded. The UIDs stay the same.

    Args:
        path: the file.
        header: of that file.
        transfer_syntax_uid: implicit or explicit VR little endian, or explicit VR big endian.

    Raises:
        InvalidDataSetError: it cannot be read, or no decoder for it is installed.
    """
    import warnings

    from pydicom.config import disable_value_validation

    name = name_of(header.transfer_syntax_uid)
    try:
        # Values are passed on, not judged: what pydicom would say about them holds patient data.
        with disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = _read(path, header)
            if is_encapsulated(header.transfer_syntax_uid) and "PixelData" in data_set:
                data_set.decompress(generate_instance_uid=False)
            return _write(data_set, header.transfer_syntax_uid, transfer_syntax_uid)
    except InvalidDataSetError:
        raise
    except Exception as error:  # pydicom and its plugins raise what they like: translated here, once
        reason = " ".join(str(error).split())[:300]
        raise InvalidDataSetError(f"cannot be converted from {name}: {reason}") from error


def _read(path: str, header: FileHeader) -> Any:
    from io import BytesIO

    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    with open(path, "rb") as file:
        require_complete(file.fileno(), header, b"")  # pydicom reads a truncated value as a short one
        file.seek(0)
        if header.offset and file.read(132)[128:] == b"DICM":
            file.seek(0)
            data_set = dcmread(file)
        else:  # no file meta information: the header knows how it is encoded
            file.seek(header.offset)
            syntax = header.transfer_syntax_uid
            if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
                raise InvalidDataSetError("a deflated data set without file meta information")
            data_set = read_dataset(
                BytesIO(file.read()), syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax != EXPLICIT_VR_BIG_ENDIAN
            )
            data_set.file_meta = FileMetaDataset()
            data_set.file_meta.TransferSyntaxUID = syntax
    return data_set


def _write(data_set: Any, source: str, target: str) -> bytes:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    if (source == EXPLICIT_VR_BIG_ENDIAN) != (target == EXPLICIT_VR_BIG_ENDIAN):
        _swap_words(data_set)
    output = DicomBytesIO()
    output.is_implicit_VR = target == IMPLICIT_VR_LITTLE_ENDIAN
    output.is_little_endian = target != EXPLICIT_VR_BIG_ENDIAN
    write_dataset(output, data_set)
    encoded: bytes = output.getvalue()
    return encoded


def _swap_words(data_set: Any) -> None:
    """Change the byte order of all values that are streams of words, in all sequences."""
    waiting = [data_set]
    while waiting:
        for element in waiting.pop():
            if element.VR == "SQ":
                waiting.extend(element.value)
            elif element.VR in _WORD_BYTES and isinstance(element.value, (bytes, bytearray)):
                element.value = _swapped(bytes(element.value), _WORD_BYTES[element.VR])


def _swapped(value: bytes, size: int) -> bytes:
    swapped = bytearray(len(value))
    whole = len(value) - len(value) % size
    for index in range(size):
        swapped[index:whole:size] = value[size - 1 - index : whole : size]
    swapped[whole:] = value[whole:]
    return bytes(swapped)

"""Identifiers, encoded and decoded."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, decode, element, encode, items, text
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

SYNTAXES = (
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
NAME, ROWS, STEPS, MODALITY, LEVEL = 0x00100010, 0x00280010, 0x00400100, 0x00080060, 0x00080052


def example() -> DataSet:
    return {
        LEVEL: element(LEVEL, "STUDY"),
        NAME: element(NAME, "Müller^Jörg"),
        ROWS: element(ROWS, "512"),
        STEPS: element(STEPS, [{MODALITY: element(MODALITY, "CT\\MR"), NAME: element(NAME, "Größe")}, {}]),
        0x0020000D: element(0x0020000D, "1.2.3\\1.2.4"),
        0x00189073: element(0x00189073, "2.5"),
        0x00720026: element(0x00720026, "00100010"),
    }


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_decode_after_encode_is_identity(syntax: str, charset: str):
    data = encode(example(), syntax, charset=charset)
    found = decode(data, syntax)
    assert found.pop(0x00080005).value == charset
    assert found == example()
    assert len(data) % 2 == 0


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_every_cut_is_an_error_or_ends_between_elements(syntax: str):
    data = encode(example(), syntax, charset="ISO_IR 192")
    whole = decode(data, syntax)
    for length in range(len(data)):
        try:
            found = decode(data[:length], syntax)
        except InvalidDataSetError:
            continue
        assert found.items() <= whole.items()


def test_a_name_without_declared_character_set():
    data = b"\x10\0\x10\0\x06\0\0\0H\xfcfte "
    assert text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN), NAME) == "Hüfte"
    assert text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN, assume_charset="ISO_IR 144"), NAME) == "Hќfte"


def test_a_wrong_declaration_is_overridden():
    data = encode({NAME: element(NAME, "Иван")}, IMPLICIT_VR_LITTLE_ENDIAN, charset="ISO_IR 144")
    data = data.replace(b"ISO_IR 144", b"ISO_IR 100")
    assert (
        text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN, assume_charset="ISO_IR 144", override_charset=True), NAME)
        == "Иван"
    )


def test_undefined_lengths_and_unknown_sequences():
    item = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + b"\x08\0\x60\0\x02\0\0\0CT" + b"\xfe\xff\x0d\xe0\0\0\0\0"
    tail = item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    implicit = b"\x40\0\0\x01\xff\xff\xff\xff" + tail
    unknown = b"\x40\0\0\x01UN\0\0\xff\xff\xff\xff" + tail
    for data, syntax in ((implicit, IMPLICIT_VR_LITTLE_ENDIAN), (unknown, EXPLICIT_VR_LITTLE_ENDIAN)):
        assert text(items(decode(data, syntax), STEPS)[0], MODALITY) == "CT"
        with pytest.raises(InvalidDataSetError):
            decode(data[:-10], syntax)


def test_nesting_has_a_limit():
    data = b""
    for _ in range(40):
        data = (
            b"\x40\0\0\x01"
            + (len(data) + 8).to_bytes(4, "little")
            + b"\xfe\xff\0\xe0"
            + len(data).to_bytes(4, "little")
            + data
        )
    with pytest.raises(InvalidDataSetError, match="nested"):
        decode(data, IMPLICIT_VR_LITTLE_ENDIAN)


def test_inflating_has_a_limit():
    import zlib

    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(bytes(64 * 1024 * 1024)) + deflater.flush()
    with pytest.raises(InvalidDataSetError, match="longer"):
        decode(bomb, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidDataSetError, match="damaged"):
        decode(b"\xff" * 20, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


def test_what_cannot_be_encoded():
    with pytest.raises(UnicodeEncodeError):
        encode({NAME: element(NAME, "山田")}, IMPLICIT_VR_LITTLE_ENDIAN, charset="ISO_IR 100")
    with pytest.raises(InvalidDataSetError, match="not a value of US"):
        encode({ROWS: element(ROWS, "many")}, IMPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidDataSetError, match="too long"):
        encode({NAME: element(NAME, "x" * 70000)}, EXPLICIT_VR_LITTLE_ENDIAN)


def test_backslash_is_a_character_of_long_texts():
    comments = 0x00104000
    data = encode({comments: element(comments, " a\\ b ")}, IMPLICIT_VR_LITTLE_ENDIAN)
    assert text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN), comments) == " a\\ b"

"""The families hold what PS3.6 lists, and each syntax once."""

from __future__ import annotations

from dcmkit import uids
from dcmkit.pixels import syntaxes

FAMILIES = (
    syntaxes.NATIVE, syntaxes.JPEG_FAMILY, syntaxes.JPEG_LS_FAMILY, syntaxes.JPEG_2000_FAMILY, syntaxes.HTJ2K_FAMILY,
    syntaxes.JPEG_XL_FAMILY, syntaxes.PASSED_THROUGH,
    {syntaxes.RLE, syntaxes.DEFLATED_FRAME, syntaxes.ENCAPSULATED_UNCOMPRESSED},
)  # fmt: skip


def test_every_syntax_is_in_one_family() -> None:
    everything = [uid for family in FAMILIES for uid in family]
    assert len(everything) == len(set(everything))
    assert set(everything) <= set(uids.TRANSFER_SYNTAXES)
    others = [uids.name_of(uid) for uid in set(uids.TRANSFER_SYNTAXES) - set(everything)]
    retired = ("JPEG ", "SMPTE", "RFC 2557", "XML", "Papyrus", "GE")
    assert all(name.startswith(retired) for name in others), others


def test_names_say_what_is_lossless() -> None:
    for uid in syntaxes.LOSSLESS - {syntaxes.JPEG_LOSSLESS, syntaxes.JPEG_LOSSLESS_SV1}:
        assert "Lossy" not in uids.name_of(uid)
    assert not syntaxes.LOSSLESS & set(syntaxes.METHODS)
    assert {uid for uid in syntaxes.NATIVE if not uids.is_encapsulated(uid)} == syntaxes.NATIVE

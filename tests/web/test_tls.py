"""Certificates: what is taken, what is refused, and what is renewed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from dcmkit.errors import InputError, UsageError
from dcmkit.web.tls import Certificates
from tests.web.certificates import self_signed


def test_modern_only(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    context = Certificates(*pair).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


def test_clients_must_show_one(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    assert Certificates(*pair, pair.certificate).context.verify_mode == ssl.CERT_REQUIRED


def test_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(pair.certificate).read_bytes() + Path(pair.key).read_bytes())
    assert Certificates(str(both)).context


def test_what_is_refused(tmp_path: Path) -> None:
    one, other = self_signed(tmp_path), self_signed(tmp_path, "other")
    with pytest.raises(UsageError, match="cannot be used for TLS"):
        Certificates(one.certificate, other.key)
    with pytest.raises(InputError, match="cannot be read"):
        Certificates(str(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match="holds no certificates"):
        Certificates(*one, one.key)
    with pytest.raises(InputError, match="cannot be read"):
        Certificates(*one, str(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match="password"):
        Certificates(*self_signed(tmp_path, "secret", b"secret"))


def test_a_renewed_one_is_taken(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    certificates = Certificates(*pair)
    assert not certificates.refresh()
    renewed = self_signed(tmp_path)
    os.utime(renewed.certificate, (1, 1))
    assert certificates.refresh()
    assert not certificates.refresh()
    Path(pair.certificate).write_text("nothing")
    assert not certificates.refresh()  # the old one stays
    os.unlink(pair.certificate)
    assert not certificates.refresh()

"""TLS of the DICOMweb server: its certificate, who must show one, and certificates that are renewed while it runs."""

from __future__ import annotations

import os
import ssl

from dcmkit.errors import InputError, UsageError
from dcmkit.logs import get_logger

log = get_logger("web")


class Certificates:
    """What connections are encrypted with.

    Args:
        certificate: PEM file of the server's certificate and those between it and a root.
        key: PEM file of its private key, without a password; "" where it is in the certificate's file.
        authorities: PEM file of those whose clients get in: whoever shows no certificate of theirs does not. "" to
            ask for none.

    Raises:
        InputError: a file cannot be read.
        UsageError: it is not what it must be, or certificate and key do not belong together.

    Attributes:
        context: TLS 1.2 and newer, HTTP/1.1.
    """

    def __init__(self, certificate: str, key: str = "", authorities: str = "") -> None:
        self._files = tuple(path for path in (certificate, key) if path)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_COMPRESSION | getattr(ssl, "OP_NO_RENEGOTIATION", 0)
        self.context.set_alpn_protocols(["http/1.1"])
        self._load()
        self._seen = self._changes()
        if authorities:
            _readable(authorities)
            try:
                self.context.load_verify_locations(authorities)
            except (ssl.SSLError, OSError) as error:
                raise UsageError(f"{authorities} holds no certificates in PEM: {_said(error)}") from None
            self.context.verify_mode = ssl.CERT_REQUIRED

    def refresh(self) -> bool:
        """Take the files anew where they have changed; whether they have. What cannot be used is logged, and left."""
        changes = self._changes()
        if changes == self._seen:
            return False
        self._seen = changes
        try:
            self._load()
        except (InputError, UsageError) as error:
            log.error("the new certificate cannot be used, the old one stays: %s", error)
            return False
        log.warning("the certificate %s has changed: new connections get it", self._files[0])
        return True

    def _load(self) -> None:
        for path in self._files:
            _readable(path)
        try:
            self.context.load_cert_chain(self._files[0], self._files[-1], password=_no_password)
        except (ssl.SSLError, OSError) as error:
            files = " and ".join(self._files)
            hint = "PEM files that belong together are needed; a chain begins with the server's own certificate"
            raise UsageError(f"{files} cannot be used for TLS: {_said(error)}", hint=hint) from None

    def _changes(self) -> tuple[tuple[int, int], ...]:
        found = []
        for path in self._files:
            try:
                facts = os.stat(path)
                found.append((facts.st_mtime_ns, facts.st_size))
            except OSError:
                found.append((0, 0))
        return tuple(found)


def _no_password() -> str:
    raise UsageError("the key is protected by a password", hint="openssl pkey -in KEY -out NEW takes it away")


def _readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _said(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or "it is none"

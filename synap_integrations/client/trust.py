"""Whose certificates are trusted, on REST and stream alike. Nothing here, and no setting, switches the check off."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

from synap_integrations.errors import TlsHandshakeError
from synap_integrations.rate_limited_log import RateLimitedLog
from synap_integrations.settings import Settings
from synap_integrations.wire.handshakes import handshake_fault

_said: Final = RateLimitedLog(logging.getLogger(__name__))


def verification(settings: Settings) -> ssl.SSLContext | bool:
    """What httpx takes: True for the authorities that it brings.

    Raises: TlsHandshakeError, if the file of authorities cannot be used.
    """
    path = settings.authorities()
    if path is None:
        return True
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # an SSLError is one
        fault = _unusable(path, error)
    raise fault


def roots(settings: Settings) -> bytes | None:
    """What gRPC takes: None for the authorities that it brings, or is told of by a variable of its own.

    Raises: TlsHandshakeError, if the file of authorities cannot be used.
    """
    path = settings.authorities(of_stream=True)
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        fault = _unusable(path, error)
    raise fault


def refused(said: str, where: str) -> TlsHandshakeError | None:
    """The error for what a library says of a connection that failed, and a line in the log; None, if that was no matter
    of TLS.
    """
    fault = handshake_fault(said)
    if fault is not None:
        _said.warn_of(f"{where} {fault.details['reason']}", "synap: %s: %s; nothing is lost", where, fault.message)
    return fault


def _unusable(path: Path, error: OSError) -> TlsHandshakeError:
    message = (
        f"the certificate authorities in {path} cannot be read ({error.strerror or type(error).__name__}): name a PEM "
        "file in SYNAP_CA_FILE or SSL_CERT_FILE, or neither"
    )
    return TlsHandshakeError(message, details={"reason": "file", "sent": False})

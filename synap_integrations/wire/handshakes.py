"""From what a TLS library says of a handshake that failed to our error.

REST goes through OpenSSL and the stream through BoringSSL, which name the same things almost alike.

Source: CPython 3.11, Modules/_ssl.c; grpcio 1.85.1, src/core/tsi/ssl_transport_security.cc
"""

from __future__ import annotations

from typing import Final

from synap_integrations.errors import TlsHandshakeError

_FAILED: Final = ("[ssl", "certificate_verify_failed", "handshake failed", "hostname verification check failed", "alpn")
_REASONS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    (
        "name",
        ("hostname", "ip address mismatch", "peer name"),
        "its certificate is for another name: check SYNAP_BASE_URL and SYNAP_GRPC_HOST",
    ),
    (
        "time",
        ("expired", "not yet valid"),
        "its certificate is not valid now: check this machine's clock, or have the certificate renewed",
    ),
    (
        "version",
        ("protocol_version", "unsupported_protocol", "no_protocols_available"),
        "it speaks no TLS 1.2 or later, and nothing older is spoken to it",
    ),
    (
        "http2",
        ("alpn",),
        "it, or a proxy before it, speaks no HTTP/2, which the stream needs",
    ),
    (
        "authority",
        ("certificate_verify_failed",),
        "nobody trusted here has signed its certificate: set SYNAP_CA_FILE to your company's authorities (PEM)",
    ),
    (
        "no_tls",
        ("wrong_version_number", "record layer", "http_request"),
        "it does not answer with TLS: check the address and the port",
    ),
)
"""Each with the words that tell it; the first that fits decides."""


def handshake_fault(said: str) -> TlsHandshakeError | None:
    """The error for what a library says of a connection; None, if that was no matter of TLS."""
    words = said.lower()
    if not any(sign in words for sign in _FAILED):
        return None
    for reason, signs, why in _REASONS:
        if any(sign in words for sign in signs):
            return TlsHandshakeError(f"no TLS with the platform: {why}", details={"reason": reason, "sent": False})
    message = "no TLS with the platform: the handshake failed"
    return TlsHandshakeError(message, details={"reason": "unknown", "sent": False})

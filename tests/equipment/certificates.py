"""A certificate authority of the test's own, and a TLS server whose certificate cannot be trusted."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import warnings
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Python 3.13 and later look for what RFC 5280 asks of authorities and of what they issue (ssl.VERIFY_X509_STRICT).
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _unsigned(name: str, key: ec.EllipticCurvePrivateKey, *, days_left: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days_left))
    )


class Authority:
    """One like a company's: ``file`` is what is trusted by whoever trusts it, as PEM."""

    def __init__(self, folder: Path, name: str = "company") -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = (
            _unsigned(name, self._key, days_left=9)
            .issuer_name(self._issuer)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def issued(self, *, address: str = "127.0.0.1", days_left: int = 9) -> Path:
        """Key and certificate of a server, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = (
            _unsigned("platform", key, days_left=days_left)
            .issuer_name(self._issuer)
            .add_extension(names, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"server-{certificate.serial_number}.pem"
        path.write_bytes(_key_text(key) + certificate.public_bytes(serialization.Encoding.PEM))
        return path


def written(folder: Path, fault: str) -> Path:
    """Key and certificate, signed with that key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    address = "10.0.0.1" if fault == "wrong-host" else "127.0.0.1"
    certificate = (
        _unsigned("platform", key, days_left=-1 if fault == "expired" else 9)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platform")]))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(_key_text(key) + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class TlsServer:
    """Takes connections with ``with``, and whatever comes after a handshake that succeeds.

    ``old``: TLS 1.1 only; ``protocols``: what it offers to speak over TLS.
    """

    def __init__(
        self, certificate: Path, *, old: bool = False, protocols: tuple[str, ...] = ("h2", "http/1.1")
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols(list(protocols))
        self._context.load_cert_chain(certificate)
        if old:
            old_only(self._context)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = self._socket.getsockname()[1]
        self.handshakes = 0
        self.received = b""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.handshakes += 1
            connection.settimeout(1.0)
            try:
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self.received += secured.recv(1_000)
            except OSError:  # the client has refused the certificate
                connection.close()


def old_only(context: ssl.SSLContext) -> None:
    """Let a context speak TLS 1.1 and nothing else."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # which is what is wanted here
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

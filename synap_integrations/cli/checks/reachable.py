"""Whether the settings make sense, and whether the platform that they name answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from synap_integrations.errors import (
    AuthenticationError,
    InsufficientCreditsError,
    InvalidInputError,
    SynapError,
    TlsHandshakeError,
)
from synap_integrations.settings import Settings

from .findings import Finding

_SOON: Final = "curl -I {address}"
_TLS: Final = {
    "authority": "export SYNAP_CA_FILE=…  (the certificate authorities of your company, as PEM)",
    "file": "export SYNAP_CA_FILE=…  (the certificate authorities of your company, as PEM), or unset SSL_CERT_FILE",
    "name": "export SYNAP_BASE_URL=… SYNAP_GRPC_HOST=…  (the names that are in the certificate)",
    "time": "date  (is it right? If so, the platform's certificate has to be renewed)",
    "version": "ask whoever runs the platform, or the proxy before it, for TLS 1.2 or later",
    "http2": "ask whoever runs the proxy before the platform for HTTP/2 (ALPN h2); turns go over REST meanwhile",
    "no_tls": "synap settings  (shows where address and port come from)",
}
"""What to do about each reason for which a handshake fails."""


def settings_findings(settings: Settings) -> Iterator[Finding]:
    """What is set, and what looks as if it should be and is not."""
    origins = Settings.origins()
    given = [name for name, origin in origins.items() if origin != "default"]
    says = f"{len(given)} set by the environment ({', '.join(given)})" if given else "all are defaults"
    yield Finding("settings", "fine", says, "", {"origins": origins})
    for variable in sorted(Settings.strangers()):
        alike = get_close_matches(variable, Settings.variables(), 1)
        fix = f"export {alike[0]}=…  (and unset {variable})" if alike else "synap settings  (lists all of them)"
        yield Finding("settings", "warning", f"{variable} is set, and is no setting", fix)
    if not settings.embedded and (path := settings.authorities()) is not None:
        from_ = "SSL_CERT_FILE" if settings.ca_file is None else "SYNAP_CA_FILE"
        yield Finding("certificates", "fine", f"trusted is who is in {path} ({from_}), and nobody else")
    if not Settings.capturing():
        yield Finding("capture", "warning", "SYNAP_CAPTURE switches capture off", "unset SYNAP_CAPTURE")
    if settings.mask is not None:
        yield _mask(settings.mask)


def _mask(name: str) -> Finding:
    from synap_integrations.redaction import mask_named  # noqa: PLC0415 - imports the application's module

    try:
        mask_named(name)
    except (ImportError, InvalidInputError) as error:
        says = f"SYNAP_MASK={name} cannot be used from here ({error}): every text would be replaced by a stub"
        return Finding("mask", "warning", says, "run this where your application can import it")
    return Finding("mask", "fine", f"{name} sees every text before it is kept")


async def platform_findings(settings: Settings) -> list[Finding]:
    """Whether REST and stream answer, and how fast. The embedded Synap has no address: see `kept`."""
    if settings.embedded:
        return [
            Finding("platform", "fine", "the embedded Synap, in the process of your application; nothing leaves it")
        ]
    from synap_integrations.client import SynapClient  # noqa: PLC0415 - not for --help
    from synap_integrations.client.calls import whoami  # noqa: PLC0415 - see above
    from synap_integrations.client.connection import Connection  # noqa: PLC0415 - see above

    address = settings.rest_url
    try:
        connection = Connection(settings, inline=True)
        began = time.perf_counter()
        async with asyncio.timeout(settings.connect_timeout_s):
            who = await connection.rest.send(whoami())
        took_ms = (time.perf_counter() - began) * 1e3
        await connection.close()
    except (SynapError, TimeoutError) as error:
        return [_refused("platform", address, error)]
    details = {"address": address, "ms": round(took_ms, 1), "instance": who.instance_id}
    found = [Finding("platform", "fine", f"{address} answers and takes the key ({took_ms:.0f} ms)", "", details)]
    host, port, tls = settings.stream_address
    where = f"{host}:{port} ({'TLS' if tls else 'clear text'})"
    client = SynapClient(settings=settings, inline=True)
    try:
        began = time.perf_counter()
        async with asyncio.timeout(settings.connect_timeout_s):
            await client.instance.listen()
        took_ms = (time.perf_counter() - began) * 1e3
        alive = client.instance.is_listening
        says = f"{where} is open ({took_ms:.0f} ms)" if alive else f"{where} was opened, and is gone again"
        found.append(Finding("stream", "fine" if alive else "problem", says, "" if alive else "synap doctor  (again)"))
    except (SynapError, TimeoutError) as error:
        found.append(_refused("stream", where, error))
    finally:
        await client.close()
    return found


def _refused(about: str, where: str, error: SynapError | TimeoutError) -> Finding:
    said = str(error) or "no answer in time"
    if isinstance(error, AuthenticationError):
        return Finding(about, "problem", f"{where}: {said}", "export SYNAP_API_KEY=…  (a key that it accepts)")
    if isinstance(error, InsufficientCreditsError):
        return Finding(about, "problem", f"{where}: {said}", "top up the account; nothing is lost meanwhile")
    if isinstance(error, TlsHandshakeError):
        fix = _TLS.get(str(error.details["reason"]), _TLS["no_tls"])
        return Finding(about, "problem", f"{where}: {said}; turns wait on disk meanwhile", fix)
    if isinstance(error, InvalidInputError):
        return Finding(about, "problem", f"{where}: {said}", "synap settings  (shows where each value comes from)")
    fix = "export SYNAP_GRPC_HOST=… SYNAP_GRPC_PORT=…" if about == "stream" else _SOON.format(address=where)
    return Finding(about, "problem", f"{where}: {said}; turns wait on disk meanwhile", fix)

"""A platform in memory that notes what it is given: the bytes that would leave this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from google.protobuf import text_format  # type: ignore[import-untyped] # ships no types

from synap_integrations.client.embedded import EmbeddedPlatform
from synap_integrations.client.platform import Duplex
from synap_integrations.client.rest import Bearer
from synap_integrations.secret import Secret
from synap_integrations.settings import Settings
from synap_integrations.wire.proto import StreamEvent

_NOBODY: Final = Secret("synap_no_key_is_set")


class NotingPlatform:
    """A `client.platform.Platform`: answers as the embedded Synap does, and keeps in ``sent`` what came in.

    The requests are those that would go to the platform of the settings, or to the cloud where there is none. Of the
    key, only its fingerprint is noted.
    """

    def __init__(self, settings: Settings) -> None:
        inside = settings.but(base_url="local", storage_path=Path(":memory:"))
        self.where = "the platform of a scripted turn"
        self.sent: list[dict[str, Any]] = []
        self._key = settings.api_key or _NOBODY
        self._address = settings.rest_url if not settings.embedded else settings.but(base_url="cloud").rest_url
        host, port, tls = (settings if not settings.embedded else settings.but(base_url="cloud")).stream_address
        self._stream = f"{host}:{port} ({'TLS' if tls else 'clear text'})"
        self._inside = EmbeddedPlatform(inside, inline=True)

    def http(self) -> httpx.AsyncClient:
        """A client that notes each request and answers from memory."""
        transport = _Noting(self._inside.http(), self._note_request)
        return httpx.AsyncClient(base_url=self._address, auth=Bearer(self._key), transport=transport)

    async def listen(self, metadata: Mapping[str, str]) -> Duplex:
        """A stream that notes each message."""
        told = {**metadata, "authorization": self._shown_key()}
        self.sent.append({"over": "stream", "to": self._stream, "metadata": told, "message": "", "hex": ""})
        return _NotingDuplex(await self._inside.listen(metadata), self._note_message)

    def close(self) -> None:
        """Let go of the memory."""
        self._inside.close()

    def _shown_key(self) -> str:
        return "Bearer [no key is set]" if self._key is _NOBODY else f"Bearer [your key {self._key.fingerprint()}]"

    def _note_request(self, request: httpx.Request, body: bytes) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        shown = {name: self._shown_key() if name.lower() == "authorization" else value for name, value in headers}
        line = f"{request.method} {request.url.raw_path.decode('ascii')} HTTP/1.1"
        text = body.decode("utf-8", "replace")
        self.sent.append({"over": "rest", "to": self._address, "line": line, "headers": shown, "body": text})

    def _note_message(self, message: bytes) -> None:
        event = StreamEvent.FromString(message)
        text = text_format.MessageToString(event, as_utf8=True).rstrip()
        self.sent.append({"over": "stream", "to": self._stream, "metadata": {}, "message": text, "hex": message.hex()})


class _Noting(httpx.AsyncBaseTransport):
    def __init__(self, inside: httpx.AsyncClient, note: Any) -> None:  # noqa: ANN401 - a bound method
        self._inside = inside
        self._note = note

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self._note(request, body)
        path = request.url.raw_path.decode("ascii")
        answer = await self._inside.request(request.method, path, content=body, headers=dict(request.headers))
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def aclose(self) -> None:
        await self._inside.aclose()


class _NotingDuplex:
    def __init__(self, inside: Duplex, note: Any) -> None:  # noqa: ANN401 - a bound method
        self._inside = inside
        self._note = note

    async def accepted(self) -> bool:
        return await self._inside.accepted()

    async def write(self, message: bytes) -> None:
        self._note(message)
        await self._inside.write(message)

    async def read(self) -> bytes | None:
        return await self._inside.read()

    async def half_close(self) -> None:
        await self._inside.half_close()

    async def close(self) -> None:
        await self._inside.close()

"""Who is talking, according to the headers of the HTTP request that is being answered.

An application is wrapped when its server takes it up (`server_hooks`); Flask and Quart know their request themselves.
No web framework is imported for it.

Only for servers whose clients cannot choose these headers, such as those behind a gateway that sets them.

Source: ASGI 3.0, PEP 3333
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

from synap_integrations import scoping
from synap_integrations.model import Scope

NAMES: Final[Mapping[str, str]] = {
    "x-user-id": "synap_user_id",
    "x-conversation-id": "synap_conversation_id",
    "x-session-id": "synap_session_id",
    "x-customer-id": "synap_customer_id",
    "x-tenant-id": "customer_id",
}
"""Header, and the name in `scoping.KEYS` that it stands for."""

_REQUEST: Final[ContextVar[Scope]] = ContextVar("synap_request", default=scoping.NOWHERE)
_App = Callable[..., Any]


def headers_scope() -> Scope:
    """What the headers of the current request say; nowhere outside of requests."""
    found = _REQUEST.get()
    if found is not scoping.NOWHERE:
        return found
    for framework in ("flask", "quart"):
        module = sys.modules.get(framework)
        if module is not None and module.has_request_context():
            return _scope_in((name.lower(), value) for name, value in module.request.headers.items())
    return scoping.NOWHERE


def _scope_in(headers: Iterable[tuple[str, str]]) -> Scope:
    return scoping.from_mapping({NAMES[name]: value for name, value in headers if name in NAMES})


class AsgiHeaders:
    """An ASGI application whose requests say who is talking."""

    def __init__(self, app: _App) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: _App, send: _App) -> None:
        """Answer one request, or serve one connection."""
        pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope.get("headers", ()))
        token = _REQUEST.set(_scope_in(pairs))
        try:
            await self.app(scope, receive, send)
        finally:
            _REQUEST.reset(token)


class WsgiHeaders:
    """A WSGI application whose requests say who is talking, until their answer is read to its end."""

    def __init__(self, app: _App) -> None:
        self.app = app

    def __call__(self, environ: Mapping[str, Any], start_response: _App) -> Iterable[bytes]:
        """Answer one request."""
        pairs = ((name[5:].replace("_", "-").lower(), value) for name, value in environ.items() if name[:5] == "HTTP_")
        said = _scope_in(pairs)
        token = _REQUEST.set(said)
        try:
            return _Answer(self.app(environ, start_response), said)
        finally:
            _REQUEST.reset(token)


class _Answer:
    """The body of an answer; each piece of it is made on behalf of whoever asked."""

    def __init__(self, body: Iterable[bytes], said: Scope) -> None:
        self._body = body
        self._said = said

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._body)
        while True:
            token = _REQUEST.set(self._said)
            try:
                piece = next(pieces)
            except StopIteration:
                return
            finally:
                _REQUEST.reset(token)
            yield piece

    def close(self) -> None:
        """The server is done with it."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

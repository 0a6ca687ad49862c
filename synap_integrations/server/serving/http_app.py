"""REST and pages as one ASGI application: what is refused at the `Gate`, what is answered by `LocalSynap`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synap_integrations.guard import contained
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.inspector.routes import door, routes
from synap_integrations.server.inspector.surroundings import Outside
from synap_integrations.server.rest.answers import refusal

from .gate import Gate, Head, Refusal, below

_ANSWER: Final = contained("dev http")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action {forms}; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


def _safe_headers(forms: str) -> tuple[tuple[bytes, bytes], ...]:
    headers = _HEADERS | {"content-security-policy": _POLICY.format(forms=forms)}
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


_SAFE_HEADERS: Final = _safe_headers("'none'")
_READABLE_HEADERS: Final = _safe_headers("'self'")
"""Of pages that a browser reads without a script: their search is a form."""


def build_app(
    synap: LocalSynap, *, gate: Gate, pool: Executor, closing: asyncio.Future[None], outside: Outside | None = None
) -> Starlette:
    """The application that serves this Synap. SQLite works on the ``pool``; ``closing`` ends what is going on.

    ``outside`` is what the pages show besides the database.
    """
    pages = routes(synap, pool=pool, outside=outside)
    return gated([*pages, Mount("/", app=_Rest(synap, pool))], gate=gate, pool=pool, closing=closing)


def gated(routes: Sequence[BaseRoute], *, gate: Gate, pool: Executor, closing: asyncio.Future[None]) -> Starlette:
    """An application behind the gate. What a browser is shown that has no key is made on the ``pool``."""
    return Starlette(
        routes=routes,
        middleware=[Middleware(_AtTheGate, gate=gate, pool=pool, closing=closing)],
        exception_handlers={HTTPException: _refused, ClientDisconnect: _gone},
    )


class _Rest:
    """REST requests, each on a thread of the pool."""

    def __init__(self, synap: LocalSynap, pool: Executor) -> None:
        self._synap = synap
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        body = await request.body()
        status, headers, content = await asyncio.get_running_loop().run_in_executor(
            self._pool,
            lambda: self._synap.answer(
                request.method,
                scope["path"],
                query=scope["query_string"].decode("latin-1"),
                headers=dict(request.headers),
                body=body,
            ),
        )
        await Response(content, status, headers)(scope, receive, send)


class _AtTheGate:
    """Refuses what the gate refuses, bounds what it lets in, and puts the safe headers on every answer."""

    def __init__(self, app: ASGIApp, gate: Gate, pool: Executor, closing: asyncio.Future[None]) -> None:
        self._app = app
        self._gate = gate
        self._pool = pool
        self._closing = closing
        self._requests = 0
        self._door: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or not."""
        refused = self._gate.refusal(_head(scope))
        readable = refused is None and below(scope["path"], self._gate.basic)
        outgoing = _Outgoing(send, _READABLE_HEADERS if readable else _SAFE_HEADERS)
        if refused is None and self._requests >= self._gate.limits.requests:
            detail = f"{self._requests} requests are being answered: try again"
            refused = Refusal(503, "OVERLOADED", detail, {"retry-after": "1"})
        if refused is not None:
            await (await self._turned_away(refused))(scope, receive, outgoing.send)
            return
        self._requests += 1
        try:
            await self._admitted(scope, _Incoming(receive, self._gate.limits.body_bytes, self._closing), outgoing)
        finally:
            self._requests -= 1

    async def _turned_away(self, refused: Refusal) -> Response:
        if not refused.to_reader:
            return _answer(refused)
        if self._door is None:
            self._door = await asyncio.get_running_loop().run_in_executor(self._pool, door)
        return HTMLResponse(self._door, refused.status, refused.headers)

    async def _admitted(self, scope: Scope, incoming: _Incoming, outgoing: _Outgoing) -> None:
        longest_s = self._gate.limits.request_s
        failed = Refusal(500, "INTERNAL", "a fault of the local Synap")
        try:
            async with asyncio.timeout(longest_s) as limit:
                outgoing.on_start = lambda: limit.reschedule(None)  # an answer that has begun may last
                with _ANSWER:
                    await self._app(scope, incoming.receive, outgoing.send)
        except TimeoutError:
            failed = Refusal(
                408, "TIMEOUT", f"a request must be complete within {longest_s:g} s", {"connection": "close"}
            )
            outgoing.on_start = _nothing
        if outgoing.on_start is not None:
            await _answer(failed)(scope, incoming.receive, outgoing.send)
        elif self._closing.done() and not outgoing.complete:
            await outgoing.send({"type": "http.response.body"})  # an answer that lasts ends here


class _Incoming:
    """What a client sends, of bounded size, until it is gone."""

    def __init__(self, receive: Receive, most_bytes: int, closing: asyncio.Future[None]) -> None:
        self._receive = receive
        self._left = most_bytes
        self._closing = closing

    async def receive(self) -> Message:
        """The next message; the client is gone for us, too, when we are closing.

        Raises: HTTPException, if the body is too large.
        """
        next_one = asyncio.ensure_future(self._receive())
        try:
            either: set[asyncio.Future[Any]] = {next_one, self._closing}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            message = next_one.result() if next_one.done() else {"type": "http.disconnect"}
        finally:
            next_one.cancel()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, "the body is too large")
        return message


class _Outgoing:
    """The answer's way to the client. ``on_start`` is called when it begins, and is None from then on."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.on_start: Callable[[], None] | None = _nothing
        self.complete = False

    async def send(self, message: Message) -> None:
        """Send it on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            if self.on_start is not None:
                self.on_start()
            self.on_start = None
            own = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in self._headers if pair[0] not in own)]
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
        await self._send(message)


def _nothing() -> None:
    return


def _head(scope: Scope) -> Head:
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return Head(scope["method"], scope["path"], tuple(headers))


def _answer(refused: Refusal) -> Response:
    return JSONResponse(refusal(refused.code, refused.detail), refused.status, refused.headers)


def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    return _answer(
        Refusal(error.status_code, phrase.upper().replace(" ", "_"), error.detail, dict(error.headers or {}))
    )


def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    """Nobody reads this, unless it is we who are going."""
    return _answer(Refusal(503, "UNAVAILABLE", "the server is stopping", {"retry-after": "1"}))

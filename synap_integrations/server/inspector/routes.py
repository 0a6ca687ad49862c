"""The pages by address.

They are served behind a gate that asks for the key: what is in `PUBLIC` holds no data, what is below `BASIC` can also
be read with the key as the password of HTTP Basic, so that it needs no script.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.rest.answers import refusal

from .assets import ASSETS
from .surroundings import Outside

if TYPE_CHECKING:
    from .live import News
    from .pages import Ask, Pages

PUBLIC: Final = frozenset({"/", *ASSETS})
"""Paths that anybody on this machine may read."""
BASIC: Final = ("/read/",)
"""Folders that a browser may read with the key as a password."""

Answer = Callable[["Pages", "Ask"], Response]


def routes(synap: LocalSynap, *, pool: Executor, outside: Outside | None = None) -> list[BaseRoute]:
    """The pages about this Synap. What waits for SQLite waits on the ``pool``; nothing is loaded before a page is."""
    inspector = _Inspector(synap, pool, outside or Outside())
    read: dict[str, Answer] = {
        "/": lambda pages, ask: HTMLResponse(pages.shell(ask)),
        "/read/": lambda pages, ask: HTMLResponse(pages.conversations(ask)),
        "/read/conversations/{number:int}": lambda pages, ask: HTMLResponse(pages.conversation(ask)),
        "/read/conversations/{number:int}/{format}": _exported,
        "/read/events": lambda pages, ask: HTMLResponse(pages.events(ask)),
        "/read/bundles": lambda pages, ask: HTMLResponse(pages.bundles(ask)),
        "/read/bundles/{number:int}": lambda pages, ask: HTMLResponse(pages.bundle(ask)),
        "/read/users": lambda pages, ask: HTMLResponse(pages.people(ask)),
        "/read/users/{number:int}": lambda pages, ask: HTMLResponse(pages.person(ask)),
        "/read/health": lambda pages, ask: HTMLResponse(pages.health(ask)),
    }
    return [
        Route("/read", lambda _: RedirectResponse("/read/")),
        Route("/read/conversations/{number:int}/live", inspector.live(_transcript), methods=["GET"]),
        Route("/read/events/live", inspector.live(_stream), methods=["GET"]),
        Route("/read/users/{number:int}/forget", inspector.forget, methods=["POST"]),
        *(Route(path, inspector.answering(answer), methods=["GET"]) for path, answer in read.items()),
        *(Route(path, _asset, methods=["GET"]) for path in ASSETS),
    ]


def door() -> str:
    """What a browser without the key is shown in place of a page: the way in, and no data."""
    from .rendering import environment  # noqa: PLC0415 - templates take longer to load than a server may take to start

    return environment().get_template("door.html").render()


class _Inspector:
    """Handlers of requests. The templates are loaded with the first page."""

    def __init__(self, synap: LocalSynap, pool: Executor, outside: Outside) -> None:
        self._synap = synap
        self._pool = pool
        self._outside = outside
        self._made: Pages | None = None

    def _pages(self) -> Pages:
        if self._made is None:
            from .pages import Pages  # noqa: PLC0415 - templates take longer to load than a server may take to start

            self._made = Pages(self._synap, self._outside)
        return self._made

    def answering(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """The handler that gives this answer."""

        async def handle(request: Request) -> Response:
            return await self._on_pool(lambda: self._answered(request, answer))

        return handle

    def _answered(self, request: Request, answer: Answer) -> Response:
        from .pages import NotHereError  # noqa: PLC0415 - see above

        pages, ask = self._pages(), _ask(request)
        try:
            return answer(pages, ask)
        except NotHereError:
            return HTMLResponse(pages.missing(ask), 404)
        except sqlite3.Error as error:
            return _refused(503, "UNAVAILABLE", f"the store cannot be used now: {error}")

    def live(self, news_of: Callable[[Pages, Ask], News]) -> Callable[[Request], Awaitable[Response]]:
        """The handler for a page as it grows, from the event on that the reader names as its last one."""

        async def handle(request: Request) -> Response:
            from .following import Cursor  # noqa: PLC0415 - see above
            from .live import stream  # noqa: PLC0415 - see above

            def begin(pages: Pages, ask: Ask) -> Response:
                cursor = Cursor.read(request.headers.get("last-event-id") or ask.text("after") or "0.0.0")
                if cursor is None:
                    return _refused(400, "INVALID_INPUT", "last-event-id names no event of this stream")
                told = stream(news_of(pages, ask), cursor, self._pool, request.receive)
                return StreamingResponse(told, media_type="text/event-stream")

            return await self._on_pool(lambda: self._answered(request, begin))

        return handle

    async def forget(self, request: Request) -> Response:
        """Forget a user, if the body repeats who that is."""
        try:
            body = await request.json()
        except ValueError:
            body = None
        confirmed = body.get("confirm") if isinstance(body, dict) else None

        def forget(pages: Pages, ask: Ask) -> Response:
            if not self._outside.writable:
                return _refused(403, "FORBIDDEN", "these pages only read: start them with --write")
            person = pages.person_of(ask.number)
            if confirmed != person.owner.user_id:
                return _refused(422, "INVALID_INPUT", "confirm must repeat the id of the user")
            forgotten = self._synap.engine.forget(person.owner)
            return JSONResponse({"forgotten": forgotten.counts, "still_present_in": list(forgotten.still_present_in)})

        return await self._on_pool(lambda: self._answered(request, forget))

    async def _on_pool(self, work: Callable[[], Response]) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _ask(request: Request) -> Ask:
    from .pages import Ask  # noqa: PLC0415 - see above

    return Ask(request.path_params.get("number", 0), dict(request.query_params), request.path_params.get("format", ""))


def _transcript(pages: Pages, ask: Ask) -> News:
    from .live import Transcript  # noqa: PLC0415 - see above

    return Transcript(pages, pages.chat(ask.number), ask)


def _stream(pages: Pages, ask: Ask) -> News:
    from .live import Stream  # noqa: PLC0415 - see above

    return Stream(pages, ask)


def _exported(pages: Pages, ask: Ask) -> Response:
    """The whole conversation, to take away."""
    from .export import as_json, as_markdown  # noqa: PLC0415 - see above
    from .pages import NotHereError  # noqa: PLC0415 - see above

    chat = pages.chat(ask.number)
    formats = {"json": ("application/json", as_json), "markdown": ("text/markdown; charset=utf-8", as_markdown)}
    if ask.format not in formats:
        raise NotHereError
    kind, write = formats[ask.format]
    ending = "json" if ask.format == "json" else "md"
    named = {"content-disposition": f'attachment; filename="conversation-{chat.number}.{ending}"'}
    return Response(write(chat, pages.line(chat, 1, chat.turns)), media_type=kind, headers=named)


async def _asset(request: Request) -> Response:
    """A file of the pages: from a table, whatever the path says."""
    kind, content = ASSETS[request.url.path]
    return Response(content(), media_type=kind, headers={"cache-control": "no-cache"})


def _refused(status: int, code: str, detail: str) -> Response:
    return JSONResponse(refusal(code, detail), status)

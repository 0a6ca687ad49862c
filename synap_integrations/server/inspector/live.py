"""A page as it grows: server-sent events, each an entry as the page has it.

An event's id says how far the reader is, as the numbers of the newest turn, event and bundle; whoever comes back with
it misses nothing and gets nothing twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Final, Protocol

from starlette.types import Receive

from .following import Cursor
from .pages import Ask, Pages
from .timeline import Entry, ToolUse, entries, woven
from .views import Chat

POLL_S: Final = 0.2
QUIET_S: Final = 10.0
BATCH: Final = 200
_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")


class News(Protocol):
    """What is new on one page."""

    def since(self, cursor: Cursor) -> tuple[Cursor, str]:
        """How far it is now, and what happened since, as server-sent events; "" if nothing did."""


class Stream:
    """What is new in the event stream, of what the page shows."""

    def __init__(self, pages: Pages, ask: Ask) -> None:
        self._pages = pages
        self._ask = ask
        self._wanted = pages.wanted(ask)

    def since(self, cursor: Cursor) -> tuple[Cursor, str]:
        """The stream events that were stored since, oldest first."""
        reached, rows = self._pages.stream.since(self._wanted, cursor, limit=BATCH)
        told = [_event(self._pages.passed(row, self._ask), reached if row is rows[-1] else None) for row in rows]
        return reached, "".join(told)


class Transcript:
    """What is new in one conversation."""

    def __init__(self, pages: Pages, chat: Chat, ask: Ask) -> None:
        self._pages = pages
        self._chat = chat
        self._ask = ask

    def since(self, cursor: Cursor) -> tuple[Cursor, str]:
        """The entries that are new, and those that have changed."""
        reading, chat = self._pages.reading, self._chat
        turns = reading.turns_after(chat, cursor.turn, limit=BATCH)
        events = reading.events_after(chat, cursor.event, limit=BATCH)
        pushes = reading.pushes_into(chat, after=cursor.bundle)
        reached = Cursor(
            max([cursor.turn, *(turn.number for turn in turns)]),
            max([cursor.event, *(event.number for event in events)]),
            max([cursor.bundle, *(push.number for push in pushes)]),
        )
        reported = [event for event in events if event.kind == "context_used"]
        marked = {push.number: push for event in reported for push in self._pages.used(chat, event)}
        marked |= {push.number: push for push in pushes}
        reports = [self._pages.report(chat, event) for event in reported]
        besides = [self._whole(entry) for entry in entries(events, marked.values(), reports)]
        line = woven(turns, besides)
        # Only the last event says how far it is: a reader who lost the connection before it gets all of them again.
        html = [self._pages.entry(chat, entry, self._ask) for entry in line]
        told = [_event(text, reached if at == len(html) else None) for at, text in enumerate(html, 1)]
        return reached, "".join(told)

    def _whole(self, entry: Entry) -> Entry:
        """A result together with its call, which the reader may have already."""
        if isinstance(entry, ToolUse) and entry.call is None and entry.result is not None:
            pair = self._pages.reading.calls(self._chat, entry.result.text("tool_call_id"))
            call = next((event for event in pair if event.kind == "tool_call"), None)
            return ToolUse(call, entry.result)
        return entry


def _event(html: str, reached: Cursor | None) -> str:
    """One entry; only the last one says how far it is."""
    cursor = "" if reached is None else f"id: {reached}\n"
    data = "\ndata: ".join(_LINE_BREAK.split(html))
    return f"{cursor}event: entry\ndata: {data}\n\n"


async def stream(news: News, cursor: Cursor, pool: Executor, receive: Receive) -> AsyncIterator[str]:
    """Server-sent events until the reader is gone, or the server wants to be."""
    loop, quiet_s = asyncio.get_running_loop(), 0.0
    gone = asyncio.ensure_future(_gone(receive))
    try:
        yield f"retry: 1000\nid: {cursor}\n\n"
        while not gone.done():
            cursor, text = await loop.run_in_executor(pool, news.since, cursor)
            quiet_s = 0.0 if text else quiet_s + POLL_S
            if text or quiet_s >= QUIET_S:
                yield text or ": still here\n\n"
                quiet_s = 0.0
            await asyncio.wait({gone}, timeout=POLL_S)
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

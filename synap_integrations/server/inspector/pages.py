"""Each page: what was asked, what is read, which template shows it. All of it may wait for SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.push.anticipation import Cause, anticipate
from synap_integrations.server.records import Item

from . import transcript
from .event_stream import TO_CLIENT, TO_SERVER, EventStream, Passed, Wanted, behind
from .explain import reasons
from .figures import Figures
from .following import Cursor
from .queries import Reading
from .rendering import page
from .surroundings import Outside
from .timeline import Entry, Shown, bundle_ids
from .views import Chat, Occurrence, Person, Push

PER_PAGE: Final = 50
TURNS: Final = 200
REASONS: Final = 15
_FOREVER_US: Final = 1 << 62


class NotHereError(Exception):
    """There is no such conversation, bundle or user, or there is none any more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for: a number and a format from its path, words from its query."""

    number: int = 0
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    format: str = ""

    def text(self, name: str) -> str:
        """A word of the query, "" if it is not there."""
        return self.query.get(name, "").strip()[:1000]

    def count(self, name: str, default: int = 0) -> int:
        """A number of the query; what is none counts as not given."""
        raw = self.query.get(name, "")
        return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 16 else default

    @property
    def redact(self) -> bool:
        """True if the page is for a screenshot."""
        return self.count("redact") == 1

    @property
    def switched(self) -> str:
        """The same query with redaction the other way."""
        return urlencode({**self.query, "redact": 0 if self.redact else 1})


Page = Callable[[Ask], str]


class Pages:
    """The pages about one local Synap. Thread-safe. Raises: NotHereError, sqlite3.Error."""

    def __init__(self, synap: LocalSynap, outside: Outside) -> None:
        self.engine = synap.engine
        self.outside = outside
        self.reading = Reading(synap.engine.database)
        self.stream = EventStream(synap.engine.database)
        self._figures = Figures(synap.engine.database)

    def shell(self, ask: Ask) -> str:
        """A page without data, which fetches the others."""
        return self._page("shell.html", ask)

    def missing(self, ask: Ask) -> str:
        """There is nothing here."""
        return self._page("missing.html", ask)

    def conversations(self, ask: Ask) -> str:
        """All conversations, or those that hold the words searched for."""
        query, number = ask.text("q"), max(ask.count("page", 1), 1)
        if query:
            chats = self.reading.search(query, limit=PER_PAGE)
        else:
            chats = self.reading.chats(limit=PER_PAGE + 1, offset=(number - 1) * PER_PAGE)
        return self._page(
            "conversations.html",
            ask,
            chats=chats[:PER_PAGE],
            query=query,
            number=number,
            more=len(chats) > PER_PAGE,
            stats=self.engine.stats(),
        )

    def conversation(self, ask: Ask) -> str:
        """The newest turns of one conversation, or those up to a position, with what happened between them."""
        chat = self.chat(ask.number)
        last = min(ask.count("until", chat.turns) or chat.turns, chat.turns)
        first = max(last - TURNS + 1, 1)
        line = self.line(chat, first, last)
        newest = self.reading.turns(chat, first=chat.turns, last=chat.turns)
        cursor = (max((turn.number for turn in newest), default=0), *self.reading.newest())
        return self._page(
            "conversation.html",
            ask,
            chat=chat,
            line=line,
            first=first,
            last=last,
            earlier=first - 1,
            cursor=".".join(map(str, cursor)),
        )

    def events(self, ask: Ask) -> str:
        """The event stream, the newest first, or what was before a place in it."""
        wanted, before = self.wanted(ask), Cursor.read(ask.text("before"))
        end = self.stream.end()
        rows = self.stream.newest(wanted, before=before, limit=PER_PAGE + 1)
        return self._page(
            "events.html",
            ask,
            rows=rows[:PER_PAGE],
            wanted=wanted,
            kinds=(TO_SERVER, TO_CLIENT),
            before=before,
            older=behind(rows[:PER_PAGE], before) if len(rows) > PER_PAGE else None,
            cursor=end,
        )

    def wanted(self, ask: Ask) -> Wanted:
        """Which stream events are asked for; what is none of the choices counts as not given."""
        direction, kind = ask.text("direction"), ask.text("type")
        known = direction in ("in", "out"), kind in TO_SERVER + TO_CLIENT
        return Wanted(direction if known[0] else "", kind if known[1] else "", ask.text("q"))

    def passed(self, row: Passed, ask: Ask) -> str:
        """One stream event as it stands on its page."""
        return self._page("event.html", ask, row=row)

    def bundles(self, ask: Ask) -> str:
        """What was pushed, the newest first, and how often each pattern was of use."""
        number, pattern = max(ask.count("page", 1), 1), ask.text("pattern") or None
        pushes = self.reading.pushes(pattern=pattern, limit=PER_PAGE + 1, offset=(number - 1) * PER_PAGE)
        return self._page(
            "bundles.html",
            ask,
            pushes=pushes[:PER_PAGE],
            rates=self.engine.hit_rates(),
            pattern=pattern,
            number=number,
            more=len(pushes) > PER_PAGE,
        )

    def bundle(self, ask: Ask) -> str:
        """One bundle: why it was pushed, what it held, what a model saw of it."""
        push = self.reading.push(ask.number) if ask.number < _FOREVER_US else None
        if push is None:
            raise NotHereError
        bundle = push.bundle
        used = [item for item in bundle.items if item.item_id in bundle.used_item_ids]
        return self._page(
            "bundle.html",
            ask,
            push=push,
            turn=self.reading.turn(push.person, bundle.decision_id),
            event=self.reading.event(push.person, bundle.decision_id),
            block=self._block(used),
        )

    def people(self, ask: Ask) -> str:
        """Everybody who has a memory here."""
        number = max(ask.count("page", 1), 1)
        people = self.reading.people(limit=PER_PAGE + 1, offset=(number - 1) * PER_PAGE)
        return self._page("people.html", ask, people=people[:PER_PAGE], number=number, more=len(people) > PER_PAGE)

    def person(self, ask: Ask) -> str:
        """What is remembered of one user, and what would go into a prompt for a query."""
        person = self.person_of(ask.number)
        query = ask.text("q")
        bundle = None
        if query:
            cause = Cause(pattern="context_request", owner=person.owner, decision_id="", queries=(query,))
            bundle = anticipate(self.engine, cause)
        return self._page(
            "person.html",
            ask,
            person=person,
            query=query,
            reasons=reasons(self.engine, person.owner, query, limit=REASONS) if query else [],
            bundle=bundle,
            block=self._block(bundle.items) if bundle else "",
            statements=[stated.statement for stated in self.engine.statements(person.owner, limit=100)],
            chats=self.reading.chats(person=person.number, limit=PER_PAGE),
        )

    def health(self, ask: Ask) -> str:
        """Whether everything adds up, and how long things take."""
        outboxes = self.outside.outboxes() if self.outside.outboxes else None
        listeners = self.outside.listeners() if self.outside.listeners else None
        return self._page(
            "health.html",
            ask,
            sums=self._figures.sums(),
            delays=self._figures.delays(),
            outboxes=outboxes,
            listeners=listeners,
            stats=self.engine.stats(),
            models=self.engine.models(),
        )

    # --- parts -----------------------------------------------------------------------------------------------

    def chat(self, number: int) -> Chat:
        """The conversation with this number. Raises: NotHereError."""
        chat = self.reading.chat(number) if number < _FOREVER_US else None
        if chat is None:
            raise NotHereError
        return chat

    def person_of(self, number: int) -> Person:
        """The user with this number. Raises: NotHereError."""
        person = self.reading.person(number) if number < _FOREVER_US else None
        if person is None:
            raise NotHereError
        return person

    def line(self, chat: Chat, first: int, last: int) -> list[Entry]:
        """What was said and done in a conversation from one position to another."""
        return transcript.line(self.reading, chat, first, last)

    def report(self, chat: Chat, event: Occurrence) -> Shown:
        """What a client reported to have shown to a model."""
        return transcript.report(self.reading, chat, event)

    def entry(self, chat: Chat, entry: Entry, ask: Ask) -> str:
        """One entry as it stands on the page of its conversation."""
        return self._page("entry.html", ask, entry=entry, chat=chat)

    def used(self, chat: Chat, event: Occurrence) -> list[Push]:
        """The bundles of this conversation that a report is about."""
        pushes = self.reading.pushes_of(chat.owner, bundle_ids(event))
        return [push for push in pushes if push.chat == chat.number]

    def _block(self, items: Iterable[Item]) -> str:
        """The items as they stand in a prompt; "" if there are none, or if nobody here knows how that looks."""
        ordered = sorted(items, key=lambda item: item.said_at)
        return self.outside.block(ordered) if self.outside.block and ordered else ""

    def _page(self, template: str, ask: Ask, **values: object) -> str:
        known = {"outside": self.outside, "prompt": self._block, "ask": ask}
        return page(template, known | values, redact=ask.redact, now=self.engine.now())

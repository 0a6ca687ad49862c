"""A local Synap with something to look at, served on real sockets, and a plain HTTP client for its pages."""

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from local_synap import Caller, Clock, engine_of

from synap_integrations.cli.surroundings import outside
from synap_integrations.model import Assembly, ContextUsed, Scope
from synap_integrations.secret import Secret
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import EmbeddedSynap, LocalSynap
from synap_integrations.server.serving.dev_server import DevServer, ServerOptions, on_a_thread
from synap_integrations.settings import Settings
from synap_integrations.wire import grpc_codec
from synap_integrations.wire.proto import ConversationEvent, StreamEvent, StreamResponse

if TYPE_CHECKING:
    from playwright.sync_api import Page

KEY = "synap_test_key_for_the_inspector"

HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "'><svg/onload=window.pwned=1>",
    "</textarea></title></style></script><b id=pwned>",
    "javascript:window.pwned=1",
    "{{ 7 * 191 }}{% raw %}",
    "${window.pwned=1}`",
    '" autofocus onfocus="window.pwned=1',
    "<iframe srcdoc='<script>parent.pwned=1</script>'>",
    "<a href='javascript:window.pwned=1'>click</a>",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;",
    "\u202e\u2066reversed\u2069 \u200bzero",
    "data: x\n\nevent: entry\ndata: <li id=pwned>",
    "line\rcarriage\r\nreturn\x0bvertical\u2028separator",
    "--></main><main id=pwned>",
)
"""Text that would do something, if a page, a stream of events or a script took it for more than text."""


ASSEMBLY = Assembly(
    source="pushed",
    why="the platform answered while we waited",
    tokens=61,
    token_budget=800,
    waited_ms=12,
    dropped={"budget": 2, "weak": 1},
)


class World:
    """A Synap with a client of its stream, by which everything that can be seen comes in on the wire."""

    def __init__(self, file: Path | None = None, *, clock: Clock | None = None) -> None:
        self.clock = clock or Clock(datetime.now(UTC))
        database = Database(file)
        engine = engine_of(database, clock=self.clock)
        self.synap = LocalSynap(database, str(file or ":memory:"), engine=engine)
        self._caller = Caller(engine)
        self._caller.platform = EmbeddedSynap(self.synap, self.synap.close)
        self.said: list[StreamResponse] = []
        self._stream = self._caller.platform.listen(self._hear, metadata={})

    def _hear(self, message: bytes) -> None:
        self.said.append(StreamResponse.FromString(message))

    def say(self, content: str, *, role: str = "user", user: str = "ana", conversation: str = "chat", **more: object):
        """Record a turn, and wait until what it causes is pushed."""
        self.clock.advance(milliseconds=5)
        answer = self._caller.say(content, role=role, user=user, conversation=conversation, **more)
        self._caller.platform.drain()
        return answer

    def happen(self, kind: str, *, user: str = "ana", conversation: str = "chat", **fields: object) -> None:
        """Something that is no turn happens."""
        self.clock.advance(milliseconds=5)
        event = ConversationEvent(
            event_type=kind,
            event_id=f"{kind}-{self.clock.now.timestamp()}",
            conversation_id=conversation,
            user_id=user,
            **fields,
        )
        self._stream.receive(StreamEvent(conversation_event=event).SerializeToString())
        self._caller.platform.drain()

    def show_last_bundle(
        self, *, user: str = "ana", conversation: str = "chat", assembly: Assembly | None = None
    ) -> list[str]:
        """A client reports that a model saw the newest bundle, and how that came about; the ids of its items."""
        self.clock.advance(milliseconds=5)
        bundle = next(said.context_bundle for said in reversed(self.said) if said.HasField("context_bundle"))
        items = [item.item_id for held in bundle.items_by_type.values() for item in held.items]
        used, scope = ContextUsed((bundle.bundle_id,), tuple(items)), Scope(conversation, user)
        if assembly is not None:
            told = grpc_codec.receipt(used, assembly, scope=scope, now=self.clock.now)
            self._stream.receive(told.SerializeToString())
        self._stream.receive(grpc_codec.context_used(used, scope=scope, now=self.clock.now).SerializeToString())
        return items

    def agent_run(self, conversation: str = "flight") -> None:
        """A question that needs memory and a tool: everything a transcript can hold."""
        self.say("I booked Lisbon for 14 June, the early flight.", conversation="booking")
        self.say("Ten days in Lisbon, how nice.", role="assistant", conversation="booking")
        self.clock.advance(days=3)
        self.say("When is my flight to Lisbon?", conversation=conversation)
        self.show_last_bundle(conversation=conversation, assembly=ASSEMBLY)
        self.happen("agent_thinking", conversation=conversation, content="The booking says June. Check the airline.")
        call = {"tool_name": "timetable", "tool_call_id": "call-1"}
        self.happen("tool_call", conversation=conversation, tool_args_json='{"city": "Lisbon", "day": 14}', **call)
        self.happen("tool_result", conversation=conversation, tool_result_json='{"leaves": "06:35"}', **call)
        self.say("On 14 June at 06:35.", role="assistant", conversation=conversation)

    def numbered(self, table: str, column: str, value: str) -> int:
        """The number of a row, which is what its page is called."""
        with self.synap.engine.database.read() as db:
            return db.execute(f"SELECT id FROM {table} WHERE {column} = ?", (value,)).fetchone()[0]

    def close(self) -> None:
        """Let go of the file."""
        self._caller.platform.close()


@dataclass
class Site:
    """The pages of a world that is served."""

    url: str
    port: int

    def get(self, path: str, *, key: str | None = KEY, basic: bool = False, **headers: str):
        """Status, headers and body of one page."""
        return self.call("GET", path, key=key, basic=basic, **headers)

    def call(self, method: str, path: str, body: object = None, *, key: str | None = KEY, basic=False, **headers: str):
        """Status, headers and body of one request; a body travels as JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            word = base64.b64encode(f"me:{key}".encode()).decode() if basic else key
            sent["Authorization"] = f"{'Basic' if basic else 'Bearer'} {word}"
        raw = None if body is None else json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, path, raw, sent)
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            line.close()

    def page(self, path: str) -> "Seen":
        """The parsed page, which must be there."""
        status, _, body = self.get(path)
        assert status == 200, (status, body[:300])
        return seen(body)

    def live(self, number: int, after: str) -> AbstractContextManager[http.client.HTTPResponse]:
        """The stream of a conversation."""
        return self.following(f"/read/conversations/{number}/live", after)

    @contextmanager
    def following(self, place: str, after: str, *, key: str = KEY) -> Iterator[http.client.HTTPResponse]:
        """A page as it grows, from this cursor on."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request("GET", place, headers={"Authorization": f"Bearer {key}", "Last-Event-ID": after})
            yield line.getresponse()
        finally:
            line.close()


@contextmanager
def served(world: World, **around: object) -> Iterator[Site]:
    """The world on a free port of this machine."""
    options = ServerOptions(key=Secret(KEY), port=0, grpc_port=0)
    beside = outside(Settings.read(), file=world.synap.name, **around)
    with on_a_thread(DevServer(world.synap, options, outside=beside)) as server:
        yield Site(server.url, server.http_port)


def enter(tab: "Page", site: Site, place: str = "/") -> None:
    """Open the address with the key in a browser, then this place."""
    tab.goto(f"{site.url}/#key={KEY}")
    tab.wait_for_selector('body[data-shown="/read/"]')
    if place != "/":
        tab.goto(f"{site.url}/#{place}")
    tab.wait_for_selector(f'body[data-shown="/read{place}"] main:not(.loading)')


def many_turns(world: World, count: int, *, conversation: str = "long") -> None:
    """A conversation of so many turns."""
    from synap_integrations.server.records import NewTurn, Owner  # noqa: PLC0415 - the engine's own words

    start = datetime(2026, 1, 1, tzinfo=UTC)
    world.synap.engine.record_all(
        [
            NewTurn(
                owner=Owner("", "ana"),
                conversation_id=conversation,
                role="user" if number % 2 else "assistant",
                content=f"Turn number {number}: " + "something was said about it. " * (number % 7),
                said_at=start + timedelta(minutes=number),
            )
            for number in range(1, count + 1)
        ]
    )


def told(stream: http.client.HTTPResponse, entries: int) -> tuple[list[str], str | None]:
    """The next so many entries of a stream, with the last cursor it gave."""
    texts: list[str] = []
    data: list[str] = []
    cursor = None
    while len(texts) < entries:
        line = stream.readline().decode().rstrip("\n")
        if line.startswith("id: "):
            cursor = line[4:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and data:
            texts.append("\n".join(data))
            data = []
    return texts, cursor


class Seen(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def attributes(self, name: str) -> list[str]:
        """All values of an attribute, in order."""
        return [value or "" for _, attrs in self.elements for known, value in attrs.items() if known == name]


def seen(html: str) -> Seen:
    """The parsed page."""
    parser = Seen()
    parser.feed(html)
    parser.close()
    return parser

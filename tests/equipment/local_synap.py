"""A local Synap with a clock and ids that a test can predict, and a client of its bytes that is no client of ours."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from synap_integrations.server.database import Database
from synap_integrations.server.embedded import EmbeddedSynap, LocalSynap
from synap_integrations.server.engine import Engine
from synap_integrations.wire.proto import ConversationEvent, SessionControl, StreamEvent, StreamResponse


@dataclass
class Clock:
    """A clock that stands still unless told otherwise."""

    now: datetime = field(default_factory=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        """The time it shows."""
        return self.now

    def advance(self, **amount: float) -> None:
        """Let time pass."""
        self.now += timedelta(**amount)


def engine_of(database: Database | None = None, *, clock: Clock | None = None) -> Engine:
    """An engine whose ids are ``id-1``, ``id-2``, … and whose clock stands still; in memory unless told otherwise."""
    numbers = itertools.count(1)
    return Engine(database or Database(None), now=clock or Clock(), new_id=lambda: f"id-{next(numbers)}")


class Caller:
    """Asks a local Synap by REST and listens to it."""

    def __init__(self, engine: Engine | None = None) -> None:
        engine = engine or engine_of()
        synap = LocalSynap(engine.database, "memory", engine=engine)
        self.platform = EmbeddedSynap(synap, synap.close)
        self.engine = engine

    def call(self, method: str, path: str, body: object = None, *, query: str = "", **headers: str):
        """Status and answer of one request; a body that is no bytes travels as JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, answer = self.platform.answer(method, path, query=query, headers=sent, body=raw)
        return status, json.loads(answer)

    def say(self, content: str, *, user: str = "ana", conversation: str = "chat", role: str = "user", **more: object):
        """Record a turn by REST; the answer. ``key`` is the idempotency key."""
        key = more.pop("key", None)
        body = {"conversation_id": conversation, "user_id": user, "role": role, "content": content} | more
        headers = {"Idempotency-Key": str(key)} if key else {}
        status, answer = self.call("POST", "/v1/conversations/messages", body, **headers)
        assert status == 200, answer
        return answer

    def found(self, question: str | None, *, user: str = "ana", **more: object) -> list[dict]:
        """What the user fetch finds, best first."""
        body = {"user_id": user, "search_query": question and [question], "response_shape": "ranked"} | more
        status, answer = self.call("POST", "/v1/context/user/fetch", body)
        assert status == 200, answer
        return answer["context"]["items"]

    def listen(self) -> Line:
        """Open a stream."""
        return Line(self.platform)


class Line:
    """The client's end of a stream: says events, keeps everything that comes back in order."""

    def __init__(self, platform: EmbeddedSynap) -> None:
        self.heard: list[StreamResponse] = []
        self._platform = platform
        self._stream = platform.listen(lambda data: self.heard.append(StreamResponse.FromString(data)), metadata={})

    def send(self, message: StreamEvent) -> None:
        """Say something, and wait until all that it causes has come back."""
        self._stream.receive(message.SerializeToString())
        assert self._platform.drain()

    def event(self, event_type: str, **fields: object) -> None:
        """Say what happened; user, conversation and event id are there unless told otherwise."""
        given = {"user_id": "ana", "conversation_id": "chat", "event_id": f"e{len(self.heard)}-{event_type}"} | fields
        self.send(StreamEvent(conversation_event=ConversationEvent(event_type=event_type, **given)))

    def start(
        self, *, user: str = "ana", customer: str = "", conversation: str = "chat", session: str = "session-1"
    ) -> None:
        """Begin a session."""
        control = SessionControl(
            action="start", session_id=session, conversation_id=conversation, user_id=user, customer_id=customer
        )
        self.send(StreamEvent(session_control=control))

    def raw(self, data: bytes) -> None:
        """Say bytes."""
        self._stream.receive(data)

    def half_close(self) -> None:
        """Nothing more to say."""
        self._stream.half_close()

    @property
    def kinds(self) -> list[str | None]:
        """What kind each answer was, in order."""
        return [message.WhichOneof("payload") for message in self.heard]

    @property
    def told(self) -> list[str]:
        """The contents of all items that were pushed."""
        return [item.content for bundle in self.bundles for item in items_of(bundle)]

    @property
    def bundles(self) -> list:
        """The bundles that were pushed."""
        return [message.context_bundle for message in self.heard if message.WhichOneof("payload") == "context_bundle"]

    def answer_to(self, decision_id: str):
        """The bundle that this event caused."""
        (found,) = [bundle for bundle in self.bundles if bundle.decision_id == decision_id]
        return found

    @property
    def acknowledged(self) -> list[str]:
        """Event ids, in the order of their acknowledgements."""
        return [event_id for message in self.heard for event_id in message.event_ack.event_ids]


def items_of(bundle) -> list:
    """The items of a bundle, whatever their type."""
    return [item for held in bundle.items_by_type.values() for item in held.items]

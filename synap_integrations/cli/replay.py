"""Saying everything again to another Synap that a store holds: conversation by conversation, each in its order.

What was taken is noted in a file, so that a replay that was killed goes on where it was. What was under way at that
moment is said again under the same id, by which a Synap knows it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self, assert_never

from synap_integrations.client import SynapClient
from synap_integrations.client.retry import Backoff
from synap_integrations.errors import ConflictError, InvalidInputError, NetworkTimeoutError, SynapError
from synap_integrations.model import Ack, Inbound
from synap_integrations.server.documents.pieces import DOCUMENT_ROLE
from synap_integrations.server.inspector.queries import Reading
from synap_integrations.server.inspector.views import Chat, Occurrence
from synap_integrations.server.records import Owner, Turn

REPLAYED: Final = frozenset({"tool_call", "tool_result", "agent_thinking"})
"""Of what happened besides turns: what the agent did. What was pushed and shown belongs to the Synap that did it."""
_AT_ONCE: Final = 8
_ATTEMPTS: Final = 5
_ACK_S: Final = 15.0
_PAGE: Final = 500
_DOCUMENT_MARKS: Final = ("synap_document_id", "synap_document_type", "synap_ingestion_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document in its pieces, as they are stored now."""

    name: str
    pieces: tuple[Turn, ...]


Sayable = Turn | Occurrence | Document


@dataclass(slots=True)
class Replayed:
    """How much was said, how much had been said before, and what was refused for good, with the reason."""

    turns: int = 0
    events: int = 0
    documents: int = 0
    before: int = 0
    refused: dict[str, str] = field(default_factory=dict[str, str])


class Notes:
    """A file that notes what was taken. One process at a time; survives the death of the process at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        """Raises: InvalidInputError, if another process is at it, or the file cannot be used."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = f"{self._path} cannot be used ({error.strerror}): is another `synap push` at work?"
            raise InvalidInputError(message) from None
        # The line that a killed process did not finish is no digest of anything.
        self._noted = set(self._file.read().split(b"\n"))
        self._file.write(b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        """True if this was taken before."""
        return _digest(key) in self._noted

    def add(self, key: str) -> None:
        """Note that it was taken. When this returns a killed process does not lose it."""
        self._noted.add(_digest(key))
        self._file.write(_digest(key) + b"\n")
        self._file.flush()


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16).hexdigest().encode()


def key_of(what: Sayable, owner: Owner) -> str:
    """What it is called in the notes."""
    match what:
        case Turn() | Occurrence():
            name = what.event_id
        case Document():
            name = f"document:{what.name}"
        case _:
            assert_never(what)
    return json.dumps([*owner, name])


def conversations(reading: Reading) -> Iterator[tuple[Owner, list[Sayable]]]:
    """Everything that can be said again, conversation by conversation, in the order in which it was stored."""
    known: set[tuple[Owner, str]] = set()
    for chat in reading.chats(limit=-1)[::-1]:
        known.add((chat.owner, chat.conversation_id))
        yield chat.owner, in_order(reading, chat)
    number = 0
    while events := reading.all_events_after(number, limit=_PAGE):
        for owner, _, event in events:
            # Tools that were called in a conversation in which nobody said anything.
            if event.kind in REPLAYED and (owner, event.conversation_id) not in known:
                yield owner, [event]
        number = events[-1][2].number


def in_order(reading: Reading, chat: Chat) -> list[Sayable]:
    """One conversation: turns by position, what happened besides where it was stored, documents in one piece."""
    turns = [numbered.turn for numbered in reading.turns(chat, first=1, last=1 << 62)]
    events = [event for event in reading.events(chat, start_us=0, end_us=1 << 62) if event.kind in REPLAYED]
    line: list[tuple[datetime, int, Sayable]] = []
    documents: dict[str, list[Turn]] = {}
    for turn in turns:
        if turn.role == DOCUMENT_ROLE:
            documents.setdefault(str(turn.metadata.get("synap_document_id") or turn.conversation_id), []).append(turn)
        else:
            # Positions decide among turns, whatever the clock did.
            line.append((max(turn.recorded_at, line[-1][0]) if line else turn.recorded_at, 1, turn))
    line += [(event.at, 0, event) for event in events]
    made: list[Sayable] = [Document(name=name, pieces=tuple(pieces)) for name, pieces in documents.items()]
    return made + [what for _, _, what in sorted(line, key=lambda entry: entry[:2])]


class Replay:
    """Says what it is given to a client; used on one event loop. ``told`` hears of each thing that is dealt with."""

    def __init__(self, client: SynapClient, notes: Notes, told: Callable[[], None]) -> None:
        self.done = Replayed()
        self._client = client
        self._notes = notes
        self._told = told
        self._backoff = Backoff(first_s=0.25, longest_s=2.0)
        self._acks: dict[str, asyncio.Future[None]] = {}
        self._listening = asyncio.Lock()

    async def run(self, held: Iterator[tuple[Owner, list[Sayable]]]) -> None:
        """All of it, several conversations at once. Raises a `SynapError`, if the platform cannot be had."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(owner: Owner, sayable: list[Sayable]) -> None:
            try:
                for what in sayable:
                    await self._say_once(what, owner)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                for owner, sayable in held:
                    await room.acquire()
                    group.create_task(one(owner, sayable))
        except* SynapError as faults:
            fault = next(_leaves(faults))
        else:
            return
        raise fault

    async def _say_once(self, what: Sayable, owner: Owner) -> None:
        key = key_of(what, owner)
        if key in self._notes:
            self.done.before += 1
            self._told()
            return
        try:
            await self._persistently(lambda: self._say(what, owner))
        except (InvalidInputError, ConflictError) as error:
            self.done.refused[key] = error.message
        else:
            self._notes.add(key)
            self._count(what)
        self._told()

    async def _persistently(self, attempt: Callable[[], Awaitable[object]]) -> None:
        """Try again what may help; its id tells the platform that it is the same."""
        for failures in range(1, _ATTEMPTS + 1):
            try:
                await attempt()
            except SynapError as error:
                if not error.retryable or failures == _ATTEMPTS:
                    raise
                wait_s = self._backoff.wait_s(failures, at_least_s=getattr(error, "retry_after", None))
            else:
                return
            await asyncio.sleep(wait_s)

    async def _say(self, what: Sayable, owner: Owner) -> None:
        match what:
            case Turn():
                await self._client.conversation.record_message(**_turn_words(what, owner))
            case Occurrence():
                await self._tell(what, owner)
            case Document():
                await self._client.memories.create(**_document_words(what, owner))
            case _:
                assert_never(what)

    async def _tell(self, event: Occurrence, owner: Owner) -> None:
        async with self._listening:
            if not self._client.instance.is_listening:
                await self._client.instance.stop_listening()
                await self._client.instance.listen(on_inbound=self._heard, repeats=False)
        taken = self._acks[event.event_id] = asyncio.get_running_loop().create_future()
        try:
            await self._client.instance.send_message(**_event_words(event, owner))
            async with asyncio.timeout(_ACK_S):
                await taken
        except TimeoutError:
            message = "the platform did not acknowledge an event in time"
            raise NetworkTimeoutError(message) from None
        finally:
            self._acks.pop(event.event_id, None)

    def _heard(self, inbound: Inbound) -> None:
        for event_id in inbound.event_ids if isinstance(inbound, Ack) else ():
            if (taken := self._acks.get(event_id)) is not None and not taken.done():
                taken.set_result(None)

    def _count(self, what: Sayable) -> None:
        match what:
            case Turn():
                self.done.turns += 1
            case Occurrence():
                self.done.events += 1
            case Document():
                self.done.documents += 1
            case _:
                assert_never(what)


@asynccontextmanager
async def replaying(client: SynapClient, notes: Notes, told: Callable[[], None]) -> AsyncIterator[Replay]:
    """A `Replay`; the client is closed at the end."""
    async with client:
        yield Replay(client, notes, told)


def _turn_words(turn: Turn, owner: Owner) -> dict[str, Any]:
    metadata = {**turn.metadata, "synap_event_id": turn.event_id, "synap_occurred_at": turn.said_at.isoformat()}
    for name, value in (("synap_conversation_id", turn.own_name), ("speaker", turn.speaker)):
        if value is not None:
            metadata.setdefault(name, value)
    return {
        "conversation_id": turn.conversation_id,
        "role": turn.role,
        "content": turn.content,
        "user_id": owner.user_id,
        "customer_id": owner.customer_id or None,
        "session_id": turn.session_id or None,
        "metadata": metadata,
        # The id stands in the metadata too, where a header could not carry it.
        "event_id": turn.event_id if turn.event_id.isascii() and turn.event_id.isprintable() else None,
    }


def _event_words(event: Occurrence, owner: Owner) -> dict[str, Any]:
    held = event.body.get("metadata")
    metadata = held if isinstance(held, dict) else {}
    return {
        "content": event.text("content"),
        "role": event.text("role"),
        "conversation_id": event.conversation_id or None,
        "user_id": owner.user_id,
        "customer_id": owner.customer_id or None,
        "event_type": event.kind,
        "metadata": {"synap_occurred_at": event.at.isoformat(), **metadata},
        "tool_name": event.text("tool_name") or None,
        "tool_args": _object(event.text("tool_args_json")),
        "tool_result": _value(event.text("tool_result_json")),
        "tool_call_id": event.text("tool_call_id") or None,
        "event_id": event.event_id,
    }


def _document_words(document: Document, owner: Owner) -> dict[str, Any]:
    first = document.pieces[0]
    return {
        "document": "\n\n".join(piece.content for piece in document.pieces),
        "document_type": str(first.metadata.get("synap_document_type") or "document"),
        "document_id": document.name,
        "document_created_at": first.said_at.isoformat(),
        "user_id": owner.user_id or None,
        "customer_id": owner.customer_id or None,
        "metadata": {name: value for name, value in first.metadata.items() if name not in _DOCUMENT_MARKS},
    }


def _value(text: str) -> object:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text


def _object(text: str) -> dict[str, Any] | None:
    value = _value(text)
    return value if isinstance(value, dict) else None


def _leaves(faults: BaseExceptionGroup[SynapError]) -> Iterator[SynapError]:
    for fault in faults.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault

"""The Protocols between floors: what each part may ask of the next one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, Protocol, runtime_checkable

from .errors import InvalidInputError, SynapError
from .model import Context, ContextItem, Envelope, Event, Inbound, RecentTurn, Scope

Detach = Callable[[], None]


@runtime_checkable
class Memory(Protocol):
    """All that an island may ask of us."""

    def record(self, event: Event, *, scope: Scope) -> None:
        """Hand over an event; returns at once, never raises."""

    def recall(self, query: str | None, *, scope: Scope) -> Context:
        """Context for the query, at once if it is there, else after a bounded wait. Never raises."""
        ...

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        """`recall` that waits without blocking the event loop."""
        ...


def checked_memory(synap: object) -> Memory | None:
    """``synap`` as an argument of ours: a `Memory`, or None for the process-wide `Synap` of the moment.

    Raises: InvalidInputError, if it is anything else.
    """
    if synap is None or isinstance(synap, Memory):
        return synap
    if isinstance(synap, str):
        message = "synap must be a Synap, not str; name a user with user_id="
    else:
        message = f"synap must have record, recall and arecall; use Synap(client=…) around a {type(synap).__name__}"
    raise InvalidInputError(message, details={"argument": "synap"})


def checked_client(client: object) -> object:
    """``client`` as an argument of `Synap`: something with the documented surface, or None.

    Raises: InvalidInputError, if it is anything else.
    """
    if client is None or (hasattr(client, "conversation") and hasattr(client, "instance")):
        return client
    message = f"client must be a SynapClient or the platform's SDK object, not {type(client).__name__}"
    if isinstance(client, str):
        message += "; a key is passed as api_key="
    raise InvalidInputError(message, details={"argument": "client"})


# --- asking on purpose --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Search:
    """What is remembered about ``query``: at most ``limit`` items of the ``types`` named, all types if none is.

    ``mode="fast"`` may be answered from what the platform has pushed; ``"accurate"`` always asks it. ``levels`` are
    those of conversation, user and customer that are searched, all that the scope names if none is.
    """

    query: str
    types: tuple[str, ...] = field(default=(), kw_only=True)
    limit: int = field(default=20, kw_only=True)
    mode: Literal["fast", "accurate"] = field(default="fast", kw_only=True)
    levels: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class ReadConversation:
    """The conversation of the scope: its newest turns, and a text about it in one of the platform's styles.

    ``turns_only`` is for a history: what was said in the conversation itself is no context, and shown also where
    ``SYNAP_CONTEXT`` keeps that out of prompts.
    """

    style: Literal["structured", "narrative", "bullet_points"] = "narrative"
    turns_only: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep this text about the user; ``source`` says who wants it kept."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class PreviewForget:
    """Which of the user's memories a description (3 to 500 characters) matches. Nothing is deleted."""

    description: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete exactly these memories, which a preview has shown."""

    memory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    """Delete all that the platform holds of the scope's conversation, or else of its user, or else of its customer."""


Question = Search | ReadConversation | Remember | PreviewForget | Forget | Erase


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a `Question`; with a ``fault``, nothing of it is known to have happened.

    ``items`` are what was found, best first; ``bundle_ids`` the pushed bundles they are from. ``turns`` and ``text``
    are a conversation's. ``ids`` are the memories that were written or deleted, ``left`` those that should be gone and
    are not, ``counts`` how many of what were deleted.
    """

    items: tuple[ContextItem, ...] = ()
    turns: tuple[RecentTurn, ...] = ()
    text: str = ""
    ids: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    bundle_ids: tuple[str, ...] = ()
    source: Literal["pushed", "fetched", "none"] = "none"
    fault: SynapError | None = None


@runtime_checkable
class Lookup(Protocol):
    """All that retrievers and agents' tools may ask of us, beside `Memory`."""

    def ask(self, question: Question, *, scope: Scope, timeout_s: float | None = None) -> Answer:
        """The platform's answer, after at most ``timeout_s`` seconds. Never raises: the answer has the fault."""
        ...

    async def aask(self, question: Question, *, scope: Scope, timeout_s: float | None = None) -> Answer:
        """`ask` that waits without blocking the event loop."""
        ...


@runtime_checkable
class Beginnings(Protocol):
    """All that a history may ask of us, beside `Lookup`."""

    def begin_anew(self, scope: Scope) -> None:
        """From now on, what was said in this conversation is not its history; it stays a memory. Never raises."""

    def begun_at(self, scope: Scope) -> datetime | None:
        """When this conversation was begun anew last, by whichever process; None if it never was. Never raises."""
        ...


class OutboxStore(Protocol):
    """All that delivery may ask of a disk. Thread-safe."""

    @property
    def appended(self) -> int:
        """Changes whenever something is appended."""
        ...

    @property
    def overdue(self) -> bool:
        """True if so much was written that `maintain` should not wait for its time."""
        ...

    @property
    def roomy(self) -> bool:
        """True while what waits is far from filling it."""
        ...

    def append(self, envelope: Envelope) -> None:
        """Keep the envelope: when this returns, a killed process does not lose it."""

    def claim(self, limit: int, *, skip: Collection[str] = ()) -> Sequence[Envelope]:
        """The next waiting envelopes in order of capture; a claimed one is not claimed again until released.

        ``skip`` names classes of events that stay where they are.
        """
        ...

    def acknowledge(self, event_ids: Collection[str]) -> None:
        """Delivered: forget them. Unknown ids are ignored."""

    def release(self, event_ids: Collection[str], *, retry_after_s: float, reason: str = "") -> None:
        """Not delivered: they, and their conversations, may be claimed again after ``retry_after_s`` seconds."""

    @property
    def strict_order(self) -> bool:
        """True if what follows a dead letter in its conversation waits."""
        ...

    def bury(self, event_id: str, reason: str) -> None:
        """Refused for good: keep it as a dead letter."""

    def hold(self, event_id: str, reason: str) -> None:
        """Nobody knows whether it arrived: keep it for somebody to decide."""

    def put_all_back(self) -> None:
        """Whoever claimed envelopes is gone: all of them may be claimed again."""

    def next_due_s(self) -> float | None:
        """Seconds until a conversation that was released with a wait is due; None if none waits."""
        ...

    def expedite(self) -> None:
        """End all waits."""

    def mark(self) -> int:
        """A place in the order after everything that was appended so far."""
        ...

    def passed(self, mark: int) -> bool:
        """True if nothing before the mark waits any more."""
        ...

    def adopt(self) -> bool:
        """Take over what one dead process left; False if there is nothing to take over, or no room for it."""
        ...

    @property
    def crowded(self) -> bool:
        """True if there was no room for it."""
        ...

    def has_orphans(self) -> bool:
        """True if `adopt` may find something."""
        ...

    def maintain(self) -> bool:
        """Tidy up, about once a second; True if there was anything to do."""
        ...

    def counts(self) -> OutboxCounts:
        """What became of what was captured."""
        ...

    def close(self) -> None:
        """Let go of the file; what waits stays in it for the next start."""


class OutboxCounts(Protocol):
    """How many envelopes had which fate; ``outbox.Counts`` says what each figure means."""

    @property
    def waiting(self) -> int:
        """Not delivered yet."""
        ...


class Handover(Enum):
    """What became of an envelope that was sent."""

    DELIVERED = "delivered"
    """The platform has it."""
    WRITTEN = "written"
    """It is on the stream; an `Ack` with its event id follows."""


class Transport(Protocol):
    """All that delivery may ask of a platform: cloud, local server, embedded. Used on one event loop only."""

    async def open(self, on_inbound: Callable[[Inbound], None]) -> None:
        """Connect and listen; what the platform says goes to ``on_inbound``. Raises a `SynapError`."""

    async def send(self, envelope: Envelope) -> Handover:
        """Hand over one envelope. Raises a `SynapError`; its ``retryable`` says whether to try again."""
        ...

    async def ask(self, question: Question, scope: Scope) -> Answer:
        """Answer a question on behalf of the scope. Raises a `SynapError`."""
        ...

    async def close(self, timeout_s: float) -> None:
        """Say goodbye within ``timeout_s`` seconds. Never raises."""


class Attach(Protocol):
    """All that we ask of an island."""

    def __call__(self, memory: Memory | None) -> Detach:
        """Listen to the framework through its own registry; call the result to let go.

        Without a memory, events go to the process-wide Synap of the moment.
        """
        ...


# --- a platform inside this process -------------------------------------------------------------------------


class LocalStream(Protocol):
    """The platform's end of one ``Listen`` call, in the bytes of the wire."""

    def receive(self, message: bytes) -> None:
        """One serialized ``StreamEvent`` from the client."""

    def half_close(self) -> None:
        """The client has nothing more to say."""


@dataclass(frozen=True, slots=True)
class Lent:
    """Models of the application's that a local Synap may use; None is none.

    ``embeddings`` encodes texts: a LangChain ``Embeddings``, a LlamaIndex embedding, or anything with the verbs of one.
    ``extractor`` reads along: a LangChain chat model, a LlamaIndex LLM, or a function of a passage. It may spend
    ``extraction_tokens`` in this process.
    """

    embeddings: object | None = None
    extractor: object | None = None
    extraction_tokens: int = 200_000

    def __bool__(self) -> bool:
        """True if there is anything."""
        return not (self.embeddings is None and self.extractor is None)


class LocalPlatform(Protocol):
    """A Synap in this process: answers the same bytes as a remote one, without a socket. Thread-safe."""

    name: str
    """What to call it in a log line: where its file is."""

    def answer(
        self, method: str, path: str, *, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One REST request: status, headers, body. Never raises."""
        ...

    def listen(self, emit: Callable[[bytes], None], *, metadata: dict[str, str]) -> LocalStream:
        """One ``Listen`` call; each serialized ``StreamResponse`` goes to ``emit``, on any thread."""
        ...

    def close(self) -> None:
        """Let go of the file. Idempotent."""

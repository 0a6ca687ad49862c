"""Synap: builds the parts, wires them, closes them. The only place that does.

Construction opens nothing and starts nothing. The first `Synap.record` writes to the outbox and starts the one daemon
thread, which owns the network; the first `Synap.recall` does the same for the stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypedDict

from synap_integrations import after_fork, scoping
from synap_integrations.client import addresses
from synap_integrations.context.desk import ContextDesk
from synap_integrations.context.policy import ContextFilter, ContextPolicy
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained, incidents, is_quiet
from synap_integrations.model import (
    Context,
    ContextBundle,
    ContextRequest,
    Envelope,
    Event,
    Inbound,
    Scope,
    Signal,
    UserMessage,
    new_id,
)
from synap_integrations.outbox import DeliveryWorker, EphemeralOutbox, SqliteOutbox
from synap_integrations.outbox.sealing import KeySource, Sealing
from synap_integrations.ports import Answer, Erase, Lent, Question, checked_client
from synap_integrations.redaction import Mask, Redaction
from synap_integrations.settings import Settings
from synap_integrations.sigterm import sigterm

from .beginnings import Beginnings, owner_of
from .enquiries import Enquiries
from .environment import capturing, note_attribution
from .late import late_runs
from .reports import Forgotten, Reached, Status
from .runs import FILE_NAME, RunLog

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from synap_integrations.ports import Transport
    from synap_integrations.settings_arguments import SettingsArguments

_RECORD: Final = contained("record")
_RECALL: Final = contained("recall")
_INBOUND: Final = contained("inbound")
_NOTHING: Final = Context()
_START_S: Final = 2.0
IN_MEMORY: Final = Path(":memory:")


class _Terms(TypedDict):
    scope: Scope
    ask: Callable[[ContextRequest], str | None]
    timeout_s: float
    reachable: Callable[[], bool]


class Synap:
    """Memory for an application: `record` what happens, `recall` what helps. Thread-safe, usable from any loop.

    ``client`` is anything with the documented surface (``conversation.record_message``, ``instance.listen``,
    ``instance.send_message``, ``instance.stop_listening``, optionally ``initialize``): our `SynapClient` by default,
    the platform's own SDK object, or a fake. Its coroutines run on the delivery thread's loop only.

    ``context_filter`` is given the items chosen for a prompt and returns those to show, in order; it may rewrite their
    texts. If it raises, nothing is shown and the fault is counted. ``mask``, from text to text, is called on every text
    of an event before it reaches the disk; if it fails, a stub is kept. ``outbox_key`` encrypts what waits on disk:
    keys as ``SYNAP_OUTBOX_KEY`` has them, or a function that fetches them, called here, once; what it raises is raised.

    ``embeddings`` is an encoder of the application's, from LangChain or LlamaIndex, with which the embedded Synap also
    finds by meaning. ``extractor`` is a chat model, or a function of a passage, that notes in the background what users
    say about themselves; it may spend `Settings.extraction_max_tokens`.

    Raises: InvalidInputError, if an argument or a setting cannot be used. Nothing else in this class raises.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        client: object | None = None,
        *,
        settings: Settings | None = None,
        embeddings: object | None = None,
        extractor: object | None = None,
        context_filter: ContextFilter | None = None,
        mask: Mask | str | None = None,
        outbox_key: KeySource | None = None,
        **explicit: Unpack[SettingsArguments],
    ) -> None:
        self.settings = settings or Settings.read(**explicit)
        self._client = client
        self._embedded = client is None and self.settings.embedded
        self._lent = self._to_lend(Lent(embeddings, extractor, self.settings.extraction_max_tokens))
        if checked_client(client) is None:
            addresses.check(self.settings)
        self._listening = after_fork.Event()
        self._started_s: float | None = None
        self._conversation = f"conversation-{new_id()}"
        policy = ContextPolicy(
            shows=self.settings.context == "inject", levels=self.settings.context_levels, keep=context_filter
        )
        self._desk = ContextDesk(
            budget_tokens=self.settings.context_max_tokens,
            policy=policy,
            on_wait=lambda: self._worker.hurry(),  # noqa: PLW0108 - made below
        )
        self._redaction = Redaction.of(self.settings, mask)
        in_memory = self.settings.storage_path == IN_MEMORY
        self._runs = RunLog(None if in_memory else self.settings.root / FILE_NAME)
        self._beginnings = Beginnings.of(self.settings)
        self._outbox = _outbox(self.settings, Sealing.of(self.settings, outbox_key))
        self._worker = DeliveryWorker(
            self._outbox,
            self._transport,
            on_inbound=self._on_inbound,
            shutdown_timeout_s=self.settings.shutdown_timeout_s,
        )
        sigterm.install(self.settings.drain_on_sigterm_s)
        self._enquiries = Enquiries(
            self._worker, store=self._desk.store, policy=policy, redaction=self._redaction, settings=self.settings
        )

    # --- the two verbs ---------------------------------------------------------------------------------------

    def record(
        self,
        event: Event,
        *,
        scope: Scope,
        occurred_at: datetime | None = None,
        event_id: str | None = None,
        framework: str | None = None,
    ) -> None:
        """Keep the event and see to its delivery. When this returns, a killed process does not lose it.

        ``occurred_at`` is for conversations of the past, which keep their dates; None is now. ``event_id`` is for what
        may be recorded again: the same id is the same event. ``framework`` travels with it, as its origin. Returns
        within `Settings.capture_wait_s`, whatever disk and network do. Never raises.
        """
        if is_quiet() or not capturing():
            return
        with _RECORD:
            scope = self._complete(scope)
            if not self._redaction.keeps(scope.conversation_id or ""):
                return
            kept = self._redaction(event)
            envelope = Envelope.seal(scope, kept, occurred_at=occurred_at, event_id=event_id, framework=framework)
            if isinstance(event, UserMessage):
                self._runs.note(note_attribution(scope))
                # Nobody can push to a stream that is not there yet: then a recall has to ask.
                said = envelope if envelope.event is event else replace(envelope, event=event)
                self._desk.turn_recorded(said, answerable=self._listening.is_set())
            self._outbox.append(envelope)
            self._worker.wake()

    def recall(self, query: str | None, *, scope: Scope, timeout_s: float | None = None) -> Context:
        """What is known that helps with the query; empty rather than late. Never raises.

        Answers from memory; with nothing fresh there it asks the platform once and waits at most ``timeout_s``, by
        default `Settings.recall_timeout_s`.
        """
        if self.settings.context == "off" or is_quiet():
            return _NOTHING
        with _RECALL:
            if (start_s := self._time_to_start()) > 0:
                self._listening.wait(start_s)
            return self._desk.recall(query, **self._terms(scope, timeout_s))
        return _NOTHING

    async def arecall(self, query: str | None, *, scope: Scope, timeout_s: float | None = None) -> Context:
        """`recall` that waits without blocking the event loop."""
        if self.settings.context == "off" or is_quiet():
            return _NOTHING
        with _RECALL:
            if (start_s := self._time_to_start()) > 0:
                await asyncio.to_thread(self._listening.wait, start_s)
            return await self._desk.arecall(query, **self._terms(scope, timeout_s))
        return _NOTHING

    # --- asking on purpose -----------------------------------------------------------------------------------

    def ask(self, question: Question, *, scope: Scope, timeout_s: float | None = None) -> Answer:
        """The platform's answer to a question of the application's, after at most ``timeout_s`` seconds, by default
        `Settings.lookup_timeout_s`. Never raises: the answer says what went wrong.
        """
        return self._enquiries.ask(question, self._told_apart(scope), timeout_s, self._time_to_start)

    async def aask(self, question: Question, *, scope: Scope, timeout_s: float | None = None) -> Answer:
        """`ask` that waits without blocking the event loop."""
        return await self._enquiries.aask(question, self._told_apart(scope), timeout_s, self._time_to_start)

    # --- a conversation that begins anew -----------------------------------------------------------------------

    def begin_anew(self, scope: Scope) -> None:
        """From now on, what was said in this conversation is not its history, here and in later processes of this
        machine. It stays with the platform, as memories. Never raises.
        """
        with _RECORD:
            self._beginnings.begin_anew(self._told_apart(scope))

    def begun_at(self, scope: Scope) -> datetime | None:
        """When this conversation was begun anew last, or forgotten; None if it never was. Never raises."""
        with _RECALL:
            return self._beginnings.begun_at(self._told_apart(scope))
        return None

    # --- forgetting ------------------------------------------------------------------------------------------

    def forget(self, scope: Scope, *, timeout_s: float = 10.0) -> Forgotten:
        """Delete what is held of the conversation, user or customer that the scope names, here and at the platform.

        Here, that is: what waits for delivery, in the files of ended processes too, dead letters, and context held for
        recalls. Then the platform (the embedded one too) is asked to delete what it holds, for at most ``timeout_s``
        seconds; 0 does not ask. The receipt says what was reached and what not.

        Raises: InvalidInputError, if the scope names nobody; OSError, if a note to later processes cannot be written.
        """
        scope = scoping.checked(scope)
        if scope.conversation_id is None and scope.user_id is None and scope.customer_id is None:
            message = "forget needs to know whom: name a conversation_id, user_id or customer_id"
            raise InvalidInputError(message, details={"argument": "scope"})
        event_ids, erased = self._outbox.forget(scope)
        self._worker.drop(event_ids)
        bundles = self._desk.forget(scope)
        self._beginnings.forget(scope)
        answer = self._enquiries.ask(Erase(), scope, timeout_s, self._time_to_start)
        return Forgotten(outbox=erased, bundles=bundles, platform=Reached.platform(self._platform(), answer))

    # --- the end ---------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything recorded so far is delivered. False if ``timeout_s`` seconds were not enough."""
        return self._worker.flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """Deliver what is left and let go of thread, network and file. Idempotent.

        False if something was left behind: it stays on disk and goes out at the next start.
        """
        timeout_s = self.settings.shutdown_timeout_s if timeout_s is None else timeout_s
        self._runs.save()
        return self._worker.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def status(self) -> Status:
        """What became of what was captured, and what delivery is doing now."""
        counts = self._outbox.counts()
        return Status(
            captured=counts.captured,
            delivered=counts.delivered,
            waiting=counts.waiting,
            refused=counts.refused,
            dead_letters=counts.dead_letters,
            evicted=counts.evicted,
            held=counts.held,
            adopted=counts.adopted,
            forgotten=counts.forgotten,
            repeats=counts.repeats,
            pending_commit=counts.pending_commit,
            locked=counts.locked,
            state=self._worker.state(),
            platform=self._platform(),
            outbox=str(self._outbox.where),
            storage=self._outbox.kept_on,
            bundles=len(self._desk.store),
            late=late_runs.count,
            incidents=incidents.counts(),
        )

    def _platform(self) -> str:
        if self._client is not None:
            return type(self._client).__name__
        return "embedded" if self._embedded else self.settings.rest_url

    # --- wiring ----------------------------------------------------------------------------------------------

    @property
    def redaction(self) -> Redaction:
        """What is taken out of everything before it is kept."""
        return self._redaction

    def _transport(self) -> Transport:
        """Made on the delivery thread, so that no network library is loaded before it is needed."""
        from synap_integrations.client import Route, SynapClient  # noqa: PLC0415 - see above

        client = self._client or SynapClient(settings=self.settings, inline=True, lent=self._lent)
        settings = self.settings
        return Route(
            client,
            turns=settings.turns,
            on_unknown=settings.on_unknown,
            dedupe_horizon_s=settings.dedupe_horizon_s,
            on_confirmed=self._outbox.confirm,
        )

    def _to_lend(self, lent: Lent) -> Lent:
        """The models, if they are such and there is an embedded Synap to use them."""
        if not lent:
            return lent
        from synap_integrations.server.lending import checked  # noqa: PLC0415 - only for those who have models

        return checked(lent, embedded=self._embedded)

    def _on_inbound(self, inbound: Inbound) -> None:
        with _INBOUND:
            self._runs.save_now_and_then()
            if isinstance(inbound, ContextBundle):
                self._desk.apply(inbound)
            elif isinstance(inbound, Signal) and inbound.kind == "connected":
                self._listening.set()
            elif isinstance(inbound, Signal) and inbound.kind == "disconnected":
                self._listening.clear()

    def _time_to_start(self) -> float:
        """How long a recall waits for the embedded Synap to be up: once, in the first moments of the process.

        Starting it is our own work, not a platform's, and takes about as long as its imports. Whoever wants no recall
        to wait at all (``recall_timeout_s`` 0) does not wait for this either.
        """
        if self._listening.is_set():
            return 0.0
        if self._started_s is None:
            self._started_s = time.monotonic()
            self._worker.wake()
        waits = self._embedded and self.settings.recall_timeout_s > 0 and self._worker.able
        return max(0.0, self._started_s + _START_S - time.monotonic()) if waits else 0.0

    def _may_answer(self) -> bool:
        """Whether waiting for the platform makes sense: it is listening, or may be in a moment."""
        started_s = self._started_s or 0.0
        return self._listening.is_set() or time.monotonic() - started_s < _START_S

    def _terms(self, scope: Scope, timeout_s: float | None) -> _Terms:
        """On whose behalf a recall asks, whom, and how long it may take."""
        scope = self._complete(scope)

        def ask(request: ContextRequest) -> str | None:
            """Ask over the stream, now or never; the event id that the answer will name, None if nobody listens."""
            redacted = self._redaction(request)
            if redacted != request and not getattr(redacted, "search_queries", ()):
                return None
            envelope = Envelope.seal(scope, redacted)
            return envelope.event_id if self._worker.submit(envelope) else None

        return {
            "scope": scope,
            "ask": ask,
            "timeout_s": self.settings.recall_timeout_s if timeout_s is None else timeout_s,
            "reachable": self._may_answer,
        }

    def _told_apart(self, scope: Scope) -> Scope:
        """Whose memory is asked for. A conversation that nobody named has nothing to tell; unknown users stay apart."""
        return scope if scope.user_id is not None else self._complete(scope)

    def _complete(self, scope: Scope) -> Scope:
        return scoping.complete(scope, fallback_conversation=self._conversation)


def _outbox(settings: Settings, sealing: Sealing) -> SqliteOutbox | EphemeralOutbox:
    max_rows, max_bytes = settings.outbox_max_rows, settings.outbox_max_mb * 1_000_000
    if settings.storage_path == IN_MEMORY:
        return EphemeralOutbox(max_rows=max_rows, max_bytes=max_bytes, strict_order=settings.strict_order)
    return SqliteOutbox(
        settings.root / owner_of(settings),
        capture_wait_s=settings.capture_wait_s,
        durability=settings.durability,
        max_rows=max_rows,
        max_bytes=max_bytes,
        strict_order=settings.strict_order,
        sealing=sealing,
    )

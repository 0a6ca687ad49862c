"""The way of an envelope to any client with the documented surface.

Turns go through ``conversation.record_message``, everything else through ``instance.send_message``. With
``turns="stream"`` turns are stream events too, and take the other way only if the stream cannot carry them. A turn that
was once written on the stream stays with the stream for ten minutes; then it is looked for, and recorded if it is not
there.

The client is our `SynapClient`, the platform's own SDK object, or anything with the same verbs. What its signatures do
not name goes into metadata. Its exceptions are told apart by name, so that nobody's package has to be imported.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from synap_integrations import errors
from synap_integrations.errors import (
    InvalidInputError,
    ListeningNotActiveError,
    NetworkError,
    NetworkTimeoutError,
    OutcomeUnknownError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
    SynapPermanentError,
    SynapTransientError,
)
from synap_integrations.model import (
    Ack,
    AssistantMessage,
    ContextUsed,
    ConversationState,
    Envelope,
    Inbound,
    Scope,
    Signal,
    UserMessage,
)
from synap_integrations.ports import Answer, Handover, Question
from synap_integrations.wire.bundles import BundleDict, bundle_from_dict, under_callers_names
from synap_integrations.wire.conversation_ids import ConversationIds
from synap_integrations.wire.faults import escaped
from synap_integrations.wire.report import Report, describe, json_text, provenance, string_map

from .answers import answered
from .client import SynapClient
from .confirmed import Arrival, Confirmed, put
from .connection import addressed
from .inherited import Inherited

_log = logging.getLogger(__name__)
_UNKNOWN: Final = "its answer was lost, and the conversation cannot be read back"

PLATFORM_SDK: Final = "maximem_synap"
MAX_WRITTEN: Final = 10_000
"""Turns of which we remember that the stream has them."""
STREAM_ONLY_S: Final = 600.0
"""How long a turn that the stream took, and nobody acknowledged, is sent again on a stream only."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A turn that a stream took and nobody has acknowledged; its conversation had ``behind`` turns then."""

    scope: Scope
    at: float
    behind: int | None

    @property
    def left_s(self) -> float:
        """How much longer it is for streams only."""
        return self.at + STREAM_ONLY_S - _now()


class Route:
    """A `Transport` over a client. Used on one event loop only.

    A stream that cannot be opened does not keep turns from being recorded: `open` raises, and `send` goes on working
    for everything that needs no stream.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - documented verbs, any class
        *,
        turns: str = "rest",
        on_unknown: str = "send",
        dedupe_horizon_s: float = 86_400.0,
        on_confirmed: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._client = client
        self._ours = isinstance(client, SynapClient)
        # The platform's SDK refuses conversation ids that are no UUIDs; ours maps them itself, others take any.
        self._ids = ConversationIds() if type(client).__module__.split(".")[0] == PLATFORM_SDK else None
        self._turns_on_stream = turns == "stream"
        self._initialized = False
        self._initializing = asyncio.Lock()
        list_turns = client.conversation.turns if isinstance(client, SynapClient) else None
        self._confirmed = Confirmed(list_turns)
        self._inherited = Inherited(list_turns)
        self._on_confirmed = on_confirmed
        self._dedupe_horizon = timedelta(seconds=dedupe_horizon_s)
        self._holds_unknown = on_unknown == "hold"
        self._written: OrderedDict[str, _Written] = OrderedDict()
        self._on_inbound: Callable[[Inbound], None] = lambda _: None

    # --- Transport -----------------------------------------------------------------------------------------------

    async def open(self, on_inbound: Callable[[Inbound], None]) -> None:
        """Initialize the client if it wants that, and listen.

        Raises: a `SynapError`, after which it may be tried again; ListeningAlreadyActiveError, while the stream is
        coming back by itself.
        """
        self._on_inbound = on_inbound
        await self._initialize()
        listen = self._client.instance.listen
        if self._ours:
            await _ask(listen, on_inbound=self._heard, repeats=False)
            return
        callbacks = {
            "on_reconnect": lambda *_: on_inbound(Signal("connected")),
            "on_disconnect": lambda *reason: on_inbound(Signal("disconnected", str(reason[0] if reason else ""))),
            "on_context": self._pushed,
        }
        await _ask(listen, **_taken(listen, callbacks))
        on_inbound(Signal("connected"))

    async def send(self, envelope: Envelope) -> Handover:
        """Hand over one envelope. Raises a `SynapError`."""
        if not self._ours:
            await self._initialize()
        event = envelope.event
        if isinstance(event, ContextUsed):
            return await self._use(event, envelope.scope)
        if not isinstance(event, UserMessage | AssistantMessage):
            return await self._tell(envelope, describe(event))
        if not self._turns_on_stream:
            return await self._record(envelope, describe(event))
        if self._is_old(envelope) and await self._has_arrived(envelope, self._addressed(envelope)[0], describe(event)):
            return Handover.DELIVERED
        return await self._stream_turn(envelope, describe(event))

    async def ask(self, question: Question, scope: Scope) -> Answer:
        """What the platform answers. Raises a `SynapError`."""
        if not self._ours:
            await self._initialize()
        sent = scope if self._ids is None else addressed(self._ids, scope)[0]
        return await answered(self._client, question, sent, ask=_ask)

    async def _initialize(self) -> None:
        """Once, if the client wants that; whoever comes while it is under way waits for it."""
        initialize = getattr(self._client, "initialize", None)
        if initialize is None or self._initialized:
            return
        async with self._initializing:
            if not self._initialized:
                await _ask(initialize)
                self._initialized = True

    async def close(self, timeout_s: float) -> None:
        """Stop listening, and close what we initialized, within ``timeout_s``. Never raises."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        client = self._client
        verbs = [client.close] if self._ours else [client.instance.stop_listening]
        if self._initialized and not self._ours:
            verbs += [verb for name in ("shutdown", "close") if (verb := getattr(client, name, None)) is not None][:1]
        for verb in verbs:
            left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
            task = asyncio.ensure_future(_called(verb, _taken(verb, {"timeout_s": left_s}, newer=("timeout_s",))))
            await asyncio.wait({task}, timeout=left_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _stream_turn(self, envelope: Envelope, report: Report) -> Handover:
        event_id = envelope.event_id
        written = self._written.get(event_id)
        if written is None:
            return await self._write_first(envelope, report) or await self._record(envelope, report)
        if written.left_s <= 0:
            self._confirmed.unacknowledged(event_id, written.behind)
            return await self._record(envelope, report)
        if self._client.instance.is_listening:
            return await self._tell(envelope, report)
        raise _in_doubt(written)

    async def _write_first(self, envelope: Envelope, report: Report) -> Handover | None:
        """What became of a turn that no stream has seen; None if it has to go another way.

        Raises: ListeningNotActiveError, if it would overtake a turn of its conversation that a stream took.
        """
        event_id, scope = envelope.event_id, envelope.scope
        if self._ours and not self._client.instance.is_listening:
            before = next((turn for turn in self._written.values() if turn.scope == scope), None)
            if before is not None:
                raise _in_doubt(before)
            return None
        # Before it is written: an acknowledgement can be faster than the return of the write.
        put(self._written, event_id, _Written(scope, _now(), self._confirmed.end(scope)), MAX_WRITTEN)
        try:
            outcome = await self._tell(envelope, report)
        except (ListeningNotActiveError, InvalidInputError):
            outcome = None
        if outcome is not Handover.WRITTEN:
            self._written.pop(event_id, None)
        return outcome

    # --- the verbs -----------------------------------------------------------------------------------------------

    async def _record(self, envelope: Envelope, report: Report) -> Handover:
        scope, metadata = self._addressed(envelope)
        confirmed, event_id = self._confirmed, envelope.event_id
        if await self._has_arrived(envelope, scope, report):
            return Handover.DELIVERED
        verb = self._client.conversation.record_message
        newer = {"event_id": event_id}
        try:
            answer = await _ask(
                verb,
                conversation_id=scope.conversation_id,
                role=report.role,
                content=report.content,
                user_id=scope.user_id,
                customer_id=scope.customer_id,
                session_id=scope.session_id,
                metadata=string_map({**report.metadata, **metadata}),
                **_taken(verb, newer, newer=("event_id",)),
            )
        except SynapError as error:
            confirmed.failed(event_id, error)
            raise
        except asyncio.CancelledError:
            confirmed.interrupted(event_id)
            raise
        confirmed.answered(event_id, scope, answer)
        if not self._turns_on_stream and (turns := confirmed.end(scope)) is not None:  # a stream counts none of its own
            self._on_confirmed(event_id, turns)
        self._written.pop(event_id, None)
        return Handover.DELIVERED

    def _is_old(self, envelope: Envelope) -> bool:
        """True if the platform may have forgotten the id under which an earlier process wrote it on a stream."""
        earlier = envelope.earlier
        return earlier is not None and datetime.now(UTC) - earlier.since > self._dedupe_horizon

    async def _has_arrived(self, envelope: Envelope, scope: Scope, report: Report) -> bool:
        """Whether a turn in doubt is there. Raises: OutcomeUnknownError, or what keeps the platform from saying, if
        such a turn is to be held; else it is sent again.
        """
        event_id = envelope.event_id
        try:
            arrival = await self._inherited.holds(envelope, scope, confirmed=self._confirmed.end(scope))
            if arrival is Arrival.ABSENT:
                arrival = await self._confirmed.holds(event_id, scope, role=report.role, content=report.content)
        except SynapError as error:
            if self._holds_unknown and error.retryable:
                raise
            _log.info("synap: a turn in doubt could not be read back (%s)", error.code)
            arrival = Arrival.UNKNOWN
        if arrival is Arrival.UNKNOWN and self._holds_unknown:
            raise OutcomeUnknownError(_UNKNOWN)
        if arrival is Arrival.ARRIVED:
            self._written.pop(event_id, None)
        return arrival is Arrival.ARRIVED

    async def _tell(self, envelope: Envelope, report: Report) -> Handover:
        scope, metadata = self._addressed(envelope)
        verb = self._client.instance.send_message
        words: dict[str, Any] = {"tool_result": report.tool_result, "tool_call_id": report.tool_call_id}
        words = {name: value for name, value in words.items() if value is not None}
        taken = _taken(verb, words | {"event_id": envelope.event_id}, newer=("event_id",))
        metadata |= {name: _as_text(value) for name, value in words.items() if name not in taken}
        optional: dict[str, Any] = {
            "tool_name": report.tool_name,
            "tool_args": report.tool_args and dict(report.tool_args),
            "search_queries": list(report.search_queries),
            "context_types": list(report.context_types),
        }
        await _ask(
            verb,
            content=report.content,
            role=report.role,
            conversation_id=scope.conversation_id,
            user_id=scope.user_id,
            customer_id=scope.customer_id,
            session_id=scope.session_id,
            event_type=report.event_type,
            metadata=string_map({**report.metadata, **metadata}),
            **{name: value for name, value in optional.items() if value},
            **taken,
        )
        return Handover.WRITTEN if self._ours else Handover.DELIVERED

    async def _use(self, used: ContextUsed, scope: Scope) -> Handover:
        """Only our client has a verb for it; elsewhere nobody waits for it."""
        if self._ours:
            await self._client.instance.report_context_used(used, scope=scope)
        return Handover.DELIVERED

    # --- names ---------------------------------------------------------------------------------------------------

    def _addressed(self, envelope: Envelope) -> tuple[Scope, dict[str, object]]:
        """The scope under the ids that the client takes, and what travels as metadata."""
        scope, metadata = envelope.scope, dict[str, object](provenance(envelope))
        if self._ids is None:
            return scope, metadata
        sent, original = addressed(self._ids, scope)
        return sent, metadata | original

    def _pushed(self, bundle: BundleDict) -> None:
        """A bundle from a client that is not ours, under the caller's name of the conversation."""
        if not isinstance(bundle, Mapping):
            return
        if self._ids is not None:
            bundle = under_callers_names(bundle, self._ids.to_caller)
        self._on_inbound(bundle_from_dict(bundle))

    def _heard(self, inbound: Inbound) -> None:
        if isinstance(inbound, Ack):
            for event_id in inbound.event_ids:
                self._written.pop(event_id, None)
        elif isinstance(inbound, ConversationState):
            self._confirmed.counted(inbound.conversation_id, inbound.message_count)
        self._on_inbound(inbound)


def _taken(verb: Callable[..., Any], words: Mapping[str, Any], *, newer: tuple[str, ...] = ()) -> dict[str, Any]:
    """The words that the verb takes; the ``newer`` ones only if it names them."""
    try:
        parameters = inspect.signature(verb).parameters.values()
    except (TypeError, ValueError):
        return {}
    named = {parameter.name for parameter in parameters}
    any_word = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return {name: value for name, value in words.items() if name in named or (any_word and name not in newer)}


def _now() -> float:
    return asyncio.get_running_loop().time()


def _in_doubt(written: _Written) -> ListeningNotActiveError:
    message = "no stream is open, and the last one may have delivered a turn of this conversation"
    return ListeningNotActiveError(message, another_way_in=max(written.left_s, 0.001))


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json_text(value)


async def _called(verb: Callable[..., Any], words: Mapping[str, Any]) -> object:
    outcome = verb(**words)
    return await outcome if isinstance(outcome, Awaitable) else outcome


async def _ask(verb: Callable[..., Any], **words: object) -> object:
    """What the client answers.

    Raises: SynapError, whatever the client raised.
    """
    (outcome,) = await asyncio.gather(_called(verb, words), return_exceptions=True)
    if isinstance(outcome, Exception):
        raise _fault(outcome)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


_ALIKE: Final[Mapping[str, type[SynapError]]] = {
    "InstanceNotReadyError": ServiceUnavailableError,
    "InstanceBuildFailedError": ServiceUnavailableError,
}


def _fault(error: Exception) -> SynapError:
    """The client's exception as one of ours: the same object, the class of the same name, or by its meaning."""
    if isinstance(error, SynapError):
        return error
    names = [base.__name__ for base in type(error).__mro__]
    message = f"{type(error).__name__}: {escaped(str(error))}"
    for name in names:
        kind = _ALIKE.get(name) or getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, SynapError):
            if issubclass(kind, RateLimitError | ServiceUnavailableError):
                return kind(message, retry_after=getattr(error, "retry_after_seconds", None))
            return kind(message)
    if isinstance(error, TimeoutError):
        return NetworkTimeoutError(message)
    if isinstance(error, OSError):
        return NetworkError(message)
    # A call that the client cannot take is no better the next time; anything else may be.
    return SynapPermanentError(message) if isinstance(error, TypeError | ValueError) else SynapTransientError(message)

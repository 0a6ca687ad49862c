"""The way of an envelope to any client with the documented surface.

Turns go through ``conversation.record_message``, everything else through ``instance.send_message``. With
``turns="stream"`` turns are stream events too, and take the other way only if the stream cannot carry them. A turn that
was once written on the stream stays with the stream for ten minutes; then it is looked for, and recorded if it is not
there.

The client is our `SynapClient`, the platform's own SDK object, or anything with the same verbs. What its signatures do
not name goes into metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from synap_integrations.errors import InvalidInputError, ListeningNotActiveError, SynapError
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
from synap_integrations.wire.report import Report, describe, json_text, provenance, string_map

from .answers import answered
from .client import SynapClient
from .confirmed import Confirmed
from .connection import addressed
from .inherited import Inherited
from .invoke import accepted, called, invoke
from .readback import Readback
from .unacknowledged import Unacknowledged

PLATFORM_SDK: Final = "maximem_synap"


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
        self._readback = Readback(
            self._confirmed,
            Inherited(list_turns),
            holds_unknown=on_unknown == "hold",
            dedupe_horizon_s=dedupe_horizon_s,
        )
        self._on_confirmed = on_confirmed
        self._unacknowledged = Unacknowledged()
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
            await invoke(listen, on_inbound=self._heard, repeats=False)
            return
        callbacks = {
            "on_reconnect": lambda *_: on_inbound(Signal("connected")),
            "on_disconnect": lambda *reason: on_inbound(Signal("disconnected", str(reason[0] if reason else ""))),
            "on_context": self._pushed,
        }
        await invoke(listen, **accepted(listen, callbacks))
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
        report = describe(event)
        if self._readback.is_old(envelope) and await self._arrived(envelope, self._addressed(envelope)[0], report):
            return Handover.DELIVERED
        return await self._stream_turn(envelope, report)

    async def ask(self, question: Question, scope: Scope) -> Answer:
        """What the platform answers. Raises a `SynapError`."""
        if not self._ours:
            await self._initialize()
        sent = scope if self._ids is None else addressed(self._ids, scope)[0]
        return await answered(self._client, question, sent, ask=invoke)

    async def _initialize(self) -> None:
        """Once, if the client wants that; whoever comes while it is under way waits for it."""
        initialize = getattr(self._client, "initialize", None)
        if initialize is None or self._initialized:
            return
        async with self._initializing:
            if not self._initialized:
                await invoke(initialize)
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
            task = asyncio.ensure_future(called(verb, accepted(verb, {"timeout_s": left_s}, newer=("timeout_s",))))
            await asyncio.wait({task}, timeout=left_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _stream_turn(self, envelope: Envelope, report: Report) -> Handover:
        event_id = envelope.event_id
        written = self._unacknowledged.get(event_id)
        if written is None:
            return await self._write_first(envelope, report) or await self._record(envelope, report)
        if written.left_s <= 0:
            self._confirmed.unacknowledged(event_id, written.behind)
            return await self._record(envelope, report)
        if self._client.instance.is_listening:
            return await self._tell(envelope, report)
        raise written.in_doubt()

    async def _write_first(self, envelope: Envelope, report: Report) -> Handover | None:
        """What became of a turn that no stream has seen; None if it has to go another way.

        Raises: ListeningNotActiveError, if it would overtake a turn of its conversation that a stream took.
        """
        event_id, scope = envelope.event_id, envelope.scope
        if self._ours and not self._client.instance.is_listening:
            before = self._unacknowledged.first_of(scope)
            if before is not None:
                raise before.in_doubt()
            return None
        # Before it is written: an acknowledgement can be faster than the return of the write.
        self._unacknowledged.write(event_id, scope, behind=self._confirmed.end(scope))
        try:
            outcome = await self._tell(envelope, report)
        except (ListeningNotActiveError, InvalidInputError):
            outcome = None
        if outcome is not Handover.WRITTEN:
            self._unacknowledged.settled(event_id)
        return outcome

    # --- the verbs -----------------------------------------------------------------------------------------------

    async def _record(self, envelope: Envelope, report: Report) -> Handover:
        scope, metadata = self._addressed(envelope)
        confirmed, event_id = self._confirmed, envelope.event_id
        if await self._arrived(envelope, scope, report):
            return Handover.DELIVERED
        verb = self._client.conversation.record_message
        newer = {"event_id": event_id}
        try:
            answer = await invoke(
                verb,
                conversation_id=scope.conversation_id,
                role=report.role,
                content=report.content,
                user_id=scope.user_id,
                customer_id=scope.customer_id,
                session_id=scope.session_id,
                metadata=string_map({**report.metadata, **metadata}),
                **accepted(verb, newer, newer=("event_id",)),
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
        self._unacknowledged.settled(event_id)
        return Handover.DELIVERED

    async def _arrived(self, envelope: Envelope, scope: Scope, report: Report) -> bool:
        arrived = await self._readback.has_arrived(envelope, scope, report)
        if arrived:
            self._unacknowledged.settled(envelope.event_id)
        return arrived

    async def _tell(self, envelope: Envelope, report: Report) -> Handover:
        scope, metadata = self._addressed(envelope)
        verb = self._client.instance.send_message
        words: dict[str, Any] = {"tool_result": report.tool_result, "tool_call_id": report.tool_call_id}
        words = {name: value for name, value in words.items() if value is not None}
        taken = accepted(verb, words | {"event_id": envelope.event_id}, newer=("event_id",))
        metadata |= {name: _as_text(value) for name, value in words.items() if name not in taken}
        optional: dict[str, Any] = {
            "tool_name": report.tool_name,
            "tool_args": report.tool_args and dict(report.tool_args),
            "search_queries": list(report.search_queries),
            "context_types": list(report.context_types),
        }
        await invoke(
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
                self._unacknowledged.settled(event_id)
        elif isinstance(inbound, ConversationState):
            self._confirmed.counted(inbound.conversation_id, inbound.message_count)
        self._on_inbound(inbound)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json_text(value)

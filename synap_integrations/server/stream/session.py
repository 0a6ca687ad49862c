"""One ``Listen`` call, without I/O of its own: stream events in, stream responses out.

Turns are stored once per event id and acknowledged after the commit, repetitions too; everything else is kept or
discarded and acknowledged all the same, because what is not acknowledged is sent again for ever. Clients that send no
event ids (before 0.5) are served without acknowledgements.

Source: maximem-synap 0.6.9, transport/grpc_client.py: what is replayed, when, and what the client does with an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final

from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Scope
from synap_integrations.scoping import checked
from synap_integrations.server.compaction import Compactions
from synap_integrations.server.engine import Engine
from synap_integrations.server.push.anticipation import ANSWERED, Cause
from synap_integrations.server.push.pusher import Pusher
from synap_integrations.server.records import Bundle, Happening, NewTurn, Owner, Turn
from synap_integrations.server.turns_wire import marks_of, owner_of
from synap_integrations.wire.proto import (
    ContextAssembledEvent,
    ContextUsedEvent,
    ConversationEvent,
    ConversationState,
    EventAck,
    HeartbeatPong,
    SessionControl,
    StreamEvent,
    StreamResponse,
    StreamSignal,
)

from .bundle_wire import bundle_message, excerpt_message
from .events import ASKED_BY, body_of, cause_of, scope_of
from .sent import MOST_LIVE, Sent

_TURNS: Final = {"user_message": "user", "assistant_message": "assistant"}
_KEPT: Final = frozenset(
    {"tool_call", "tool_result", "agent_thinking", "context_request", "context_fetch", "session_start", "session_end"}
)
_MAX_USERS: Final = 10_000
_HISTORY_TURNS: Final = 20
_HISTORY_CHARS: Final = 40_000


class ListenSession:
    """The platform's end of one ``Listen`` call. `receive` on one thread at a time; `push` on any.

    ``most_live`` None is for clients that find their way in any number of items, as our own does.
    Everything it says goes to ``emit``, never while a lock is held. Acknowledgements are emitted at once where
    ``ack_delay_s`` is 0; else whoever owns the socket calls `acknowledge` when `acks_due_s`, on ``clock``, has come.
    """

    def __init__(  # noqa: PLR0913 - two parts, a way out, and three terms that are named
        self,
        engine: Engine,
        pusher: Pusher,
        emit: Callable[[StreamResponse], None],
        *,
        ack_delay_s: float = 0.0,
        most_live: int | None = MOST_LIVE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._pusher = pusher
        self._emit = emit
        self._ack_delay_s = ack_delay_s
        self._clock = clock
        self._unacknowledged: list[str] = []
        self._users: dict[Owner, None] = {}
        self._sent = Sent(most_live=most_live, clock=clock)
        self._compactions = Compactions(engine)
        self._lock = threading.Lock()
        self.acks_due_s: float | None = None
        """When the collected acknowledgements are due, on ``clock``; None while there are none."""
        pusher.add(self)

    def receive(self, message: StreamEvent) -> None:
        """Deal with one event. Raises sqlite3.Error if it could not be stored; it is not acknowledged then."""
        match message.WhichOneof("payload"):
            case "conversation_event":
                self._conversation_event(message.conversation_event)
            case "heartbeat_ping":
                self._emit(
                    StreamResponse(heartbeat_pong=HeartbeatPong(timestamp_ms=message.heartbeat_ping.timestamp_ms))
                )
            case "session_control":
                self._session_control(message.session_control)
            case "context_used":
                self._context_used(message.context_used)
            case "context_assembled":
                self._context_assembled(message.context_assembled)
            case _:  # newer than this server
                return

    def speaks_for(self, owner: Owner) -> bool:
        """True if something of this user came in on this stream."""
        return owner in self._users

    def half_close(self) -> None:
        """The client has nothing more to say: acknowledge what is left, push no more."""
        self._pusher.remove(self)
        self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledge everything that was taken so far."""
        with self._lock:
            taken, self._unacknowledged = self._unacknowledged, []
            self.acks_due_s = None
        if taken:
            self._emit(StreamResponse(event_ack=EventAck(event_ids=taken, timestamp_ms=self._now_ms())))

    def push(self, bundle: Bundle) -> None:
        """Send the bundle.

        What nobody asked for leaves out items that this client was sent a while ago; and a client that keeps very many
        is sent few that it has not.
        """
        if bundle.pattern == "compaction":
            self._push_excerpt(bundle)
            return
        items = self._sent.affordable(bundle)
        if items or bundle.pattern in ANSWERED:
            self._emit(bundle_message(bundle, items, self._history(bundle)))

    def _push_excerpt(self, bundle: Bundle) -> None:
        found = self._compactions.latest(bundle.owner, bundle.conversation_id)
        end = self._engine.store.extent(bundle.owner, bundle.conversation_id)
        if found is not None and end is not None:
            excerpt = self._compactions.excerpt(bundle.owner, found)
            left = self._engine.store.turns(bundle.owner, bundle.conversation_id, start=found.position + 1)
            self._emit(excerpt_message(bundle, found, excerpt, left, total=end.position))

    def _history(self, bundle: Bundle) -> list[Turn]:
        """The running conversation, once on each stream: a process that has just started remembers nothing of it."""
        if not bundle.conversation_id or bundle.pattern not in ANSWERED:
            return []
        if not self._sent.first_of(bundle.owner, bundle.conversation_id):
            return []
        turns = self._engine.store.turns(bundle.owner, bundle.conversation_id, limit=_HISTORY_TURNS, newest=True)
        sizes = accumulate(len(turn.content) for turn in reversed(turns))
        whole = sum(size <= _HISTORY_CHARS for size in sizes)
        return turns[len(turns) - whole :]

    # --- events ----------------------------------------------------------------------------------------------

    def _conversation_event(self, event: ConversationEvent) -> None:
        try:
            scope = checked(scope_of(event))
        except InvalidInputError:
            scope = Scope()
        if scope.user_id is None:
            self._take(event)
        elif event.event_type in _TURNS and scope.conversation_id is not None:
            self._turn(event, scope)
        elif event.event_type in _KEPT:
            self._happening(event, scope)
        else:
            self._take(event)

    def _turn(self, event: ConversationEvent, scope: Scope) -> None:
        owner, metadata = self._owner(scope), dict(event.metadata)
        recorded = self._engine.record(
            NewTurn(
                owner=owner,
                conversation_id=event.conversation_id,
                role=_TURNS[event.event_type],
                content=event.content,
                event_id=event.event_id or None,
                session_id=event.session_id or None,
                metadata=metadata,
                **marks_of(metadata),
            )
        )
        if recorded.fresh:
            state = ConversationState(conversation_id=event.conversation_id, message_count=recorded.count)
            self._emit(StreamResponse(conversation_state=state))
        self._take(event)
        if recorded.fresh and event.event_type == "user_message":
            turn = recorded.turn
            self._pusher.request(
                Cause(
                    pattern="user_message",
                    owner=owner,
                    decision_id=turn.event_id,
                    conversation_id=turn.conversation_id,
                    queries=(turn.content,),
                ),
                to=self,
            )

    def _happening(self, event: ConversationEvent, scope: Scope) -> None:
        happening = Happening(
            owner=self._owner(scope),
            kind=event.event_type,
            conversation_id=event.conversation_id,
            session_id=event.session_id,
            event_id=event.event_id or self._engine.new_id(),
            body=body_of(event),
        )
        fresh = self._engine.keep(happening)
        self._take(event)
        if not fresh:
            return
        if event.event_type == "session_start":
            self._session_begins(
                happening.owner, event.session_id, event.conversation_id, decision_id=happening.event_id or ""
            )
        elif event.event_type == "session_end":
            self._engine.end_session(event.session_id, event.conversation_id)
        elif event.event_type in ASKED_BY:
            cause = cause_of(event, happening)
            if cause.queries or cause.urgent:
                self._pusher.request(cause, to=self)

    def _session_begins(self, owner: Owner, session_id: str, conversation_id: str, *, decision_id: str) -> None:
        if self._engine.start_session(owner, session_id, conversation_id):
            cause = Cause(
                pattern="session_start", owner=owner, decision_id=decision_id, conversation_id=conversation_id
            )
            self._pusher.request(cause, to=self)

    def _session_control(self, control: SessionControl) -> None:
        try:
            scope = checked(scope_of(control))
        except InvalidInputError:
            return
        if control.action == "end":
            self._engine.end_session(control.session_id, control.conversation_id)
        elif control.action == "start" and scope.user_id is None:
            self._emit(
                StreamResponse(signal=StreamSignal(signal_type="error", reason="a session starts with a user_id"))
            )
        elif control.action == "start":
            self._session_begins(
                self._owner(scope), control.session_id, control.conversation_id, decision_id=control.session_id
            )

    def _context_used(self, used: ContextUsedEvent) -> None:
        bundle_ids, item_ids = list(used.source_bundle_ids) or [used.bundle_id], list(used.served_item_ids)
        self._engine.used(bundle_ids, item_ids)
        self._happened(
            used, "context_used", {"bundle_ids": bundle_ids, "item_ids": item_ids, "sent_at_ms": used.timestamp_ms}
        )

    def _context_assembled(self, assembled: ContextAssembledEvent) -> None:
        body = {
            "correlation_id": assembled.correlation_id,
            "item_ids": list(assembled.final_item_ids),
            "assembly_source": assembled.assembly_source,
            "recent_turn_count": assembled.recent_turn_count,
            "sent_at_ms": assembled.timestamp_ms,
        }
        self._happened(assembled, "context_assembled", body)

    def _happened(
        self, report: ContextUsedEvent | ContextAssembledEvent, kind: str, body: Mapping[str, object]
    ) -> None:
        """Keep what a client reports about context, if it says whose it was."""
        try:
            scope = checked(scope_of(report))
        except InvalidInputError:
            return
        if scope.user_id is not None:
            self._engine.keep(
                Happening(owner=owner_of(scope), kind=kind, conversation_id=report.conversation_id, body=body)
            )

    def _owner(self, scope: Scope) -> Owner:
        """Whose event it is; what they say by another way is answered here from now on."""
        owner = owner_of(scope)
        self._users[owner] = None
        if len(self._users) > _MAX_USERS:
            del self._users[next(iter(self._users))]
        return owner

    # --- what is said back -----------------------------------------------------------------------------------

    def _take(self, event: ConversationEvent) -> None:
        """The event is dealt with for good: acknowledge it, now or together with others."""
        if not event.event_id:
            return
        with self._lock:
            self._unacknowledged.append(event.event_id)
            if self.acks_due_s is None:
                self.acks_due_s = self._clock() + self._ack_delay_s
        if self._ack_delay_s <= 0:
            self.acknowledge()

    def _now_ms(self) -> int:
        return int(self._engine.now().timestamp() * 1000)

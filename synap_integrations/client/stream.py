"""The stream: a ``Listen`` call that outlives its connections.

What was written and is not acknowledged is written again on the next connection, in order and under the same ids,
before anything new; unless the caller repeats, as delivery does, which must be able to leave an event out that ends
each connection. Sessions belong to a connection: each begins with the first event of a conversation on it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

from synap_integrations.errors import ListeningNotActiveError, NetworkTimeoutError, SynapError
from synap_integrations.model import Ack, Scope
from synap_integrations.rate_limited_log import RateLimitedLog
from synap_integrations.wire.grpc_codec import Decoded, session_control
from synap_integrations.wire.proto import StreamEvent

from .line import Line, Loss, Timing
from .platform import Platform
from .retry import Backoff

_log = logging.getLogger(__name__)

MAX_UNACKNOWLEDGED: Final = 1_000
"""Events kept for a repeat; the oldest goes first. Whoever needs more keeps them itself, as the outbox does."""
MAX_SESSIONS: Final = 1_000
STEADY_AFTER_S: Final = 5.0
"""A connection that lasted this long was a good one: the next outage starts counting anew."""


_Owner: TypeAlias = tuple[str | None, str | None, str | None]
"""Conversation, user, customer: a conversation whose id two users share is one session of each."""


@dataclass(slots=True)
class _Sent:
    """An event that is not acknowledged, and the connection that it was last written on."""

    event: StreamEvent
    in_session: bool
    line: Line | None = None


class Stream:
    """Bound to the event loop that opens it. ``on_message`` gets everything the platform says, in order.

    Without ``repeats`` it writes each event once at most: what is not acknowledged when a connection is lost, the
    caller sends again when he hears of the next one.
    """

    def __init__(  # noqa: PLR0913 - the callbacks, by name
        self,
        platform: Platform,
        metadata: Mapping[str, str],
        *,
        on_message: Callable[[Decoded], None],
        on_reconnect: Callable[[int], None],
        on_disconnect: Callable[[str], None],
        timing: Timing,
        backoff: Backoff,
        repeats: bool = True,
    ) -> None:
        self._repeats = repeats
        self._platform = platform
        self._metadata = metadata
        self._listener = on_message
        self._on_reconnect = on_reconnect
        self._on_disconnect = on_disconnect
        self._timing = timing
        self._backoff = backoff
        self._unacknowledged: OrderedDict[str, _Sent] = OrderedDict()
        self._sessions: OrderedDict[_Owner, Scope] = OrderedDict()
        self._given_up = 0
        self._skipped = RateLimitedLog(_log)
        self._in_order = asyncio.Lock()
        self._up = asyncio.Event()
        self._line: Line | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        """True while the stream is open or coming back by itself."""
        return self._keeper is not None and not self._keeper.done()

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self.active and self._up.is_set()

    async def open(self) -> None:
        """Connect. Raises the `SynapError` that kept it from it."""
        line = await self._connect()
        self._keeper = asyncio.create_task(self._keep(line), name="synap-stream")
        await self._resume(line)

    async def send(self, event: StreamEvent) -> None:
        """Return once the event is written; while the connection is being replaced, wait for the next one.

        Without ``repeats`` there is no waiting: an event for a connection that has just been lost is one of those that
        are not acknowledged.

        Raises: ListeningNotActiveError without a stream; NetworkTimeoutError, if no connection came in time (the
        event is then not sent); InvalidInputError, if it is too large.
        """
        if not self.active:
            raise _not_active()
        sent = _Sent(event, in_session=bool(event.conversation_event.session_id))
        event_id = event.conversation_event.event_id
        if event_id and self._repeats:
            self._remember(event_id, sent)
        try:
            async with asyncio.timeout(self._timing.write_s), self._in_order:
                if self._repeats or not event_id:  # nobody else would send again what is not acknowledged at all
                    await self._written(sent)
                elif (line := self._line) is not None and self._up.is_set():
                    await self._try(sent, line)
        except TimeoutError:
            if sent.line is None:
                self._unacknowledged.pop(event_id, None)
                message = "the stream took no event in time: the platform cannot be reached, or is stuck"
                raise NetworkTimeoutError(message) from None
        except SynapError:
            self._unacknowledged.pop(event_id, None)
            raise

    async def end_session(self, scope: Scope) -> None:
        """Tell the platform that the user's conversation is over for now; nothing, if no session is open."""
        session = self._sessions.pop(_owner(scope), None)
        if session is not None and self._line is not None:
            await self._line.write(session_control("end", scope=session))

    async def close(self, timeout_s: float) -> None:
        """End the sessions, hear the last acknowledgements, and let go, within ``timeout_s``. Never raises."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None:
            deadline = asyncio.get_running_loop().time() + timeout_s
            if not line.lost.done():
                goodbyes = [session_control("end", scope=session) for session in self._sessions.values()]
                farewell = asyncio.gather(*map(line.write, goodbyes), return_exceptions=True)
                await asyncio.wait({farewell}, timeout=timeout_s)
            await line.hang_up(deadline - asyncio.get_running_loop().time())
        self._sessions.clear()
        self._up.set()

    # --- connections -------------------------------------------------------------------------------------------

    async def _connect(self) -> Line:
        duplex = await self._platform.listen(self._metadata)
        line = Line(duplex, self._on_message, self._on_malformed, self._timing)
        started = False
        try:
            await line.start()
            started = True
        finally:
            if not started:
                await line.hang_up(0)
        return line

    async def _resume(self, line: Line) -> None:
        """Write what is not acknowledged, then let new events pass."""
        self._sessions.clear()
        self._line = line
        for sent in list(self._unacknowledged.values()):
            if not await self._try(sent, line):
                return
        self._up.set()

    async def _keep(self, line: Line) -> None:
        """Replace each connection that is lost, until the platform refuses for good."""
        failures = 0
        while True:
            await asyncio.wait({line.lost})  # awaited directly, it would be cancelled together with us
            loss = line.lost.result()
            self._up.clear()
            await line.hang_up(0)
            self._line = None
            lasted_s = asyncio.get_running_loop().time() - line.opened_at
            failures = 0 if lasted_s > STEADY_AFTER_S else failures + 1
            _log.info("synap: the stream was lost (%s)", loss.reason)
            self._on_disconnect(loss.reason)
            reopened = await self._reconnect(loss, failures)
            if reopened is None:
                self._up.set()  # whoever waits for a connection learns that none will come
                return
            line, attempts = reopened
            failures += attempts - 1
            await self._resume(line)
            self._on_reconnect(attempts)

    async def _reconnect(self, loss: Loss, failures: int) -> tuple[Line, int] | None:
        """The next connection and how many attempts it took; None after a refusal for good."""
        attempts = 0
        while loss.fault is None or loss.fault.retryable:
            attempts += 1
            await asyncio.sleep(self._backoff.wait_s(failures + attempts - 1, at_least_s=loss.come_back_s))
            try:
                return await self._connect(), attempts
            except SynapError as error:
                loss = Loss(error.code, error, getattr(error, "retry_after", None))
        _log.warning("synap: the stream ended for good: %s", loss.fault)
        return None

    def _on_message(self, message: Decoded) -> None:
        if isinstance(message, Ack):
            for event_id in message.event_ids:
                self._unacknowledged.pop(event_id, None)
        self._listener(message)

    def _on_malformed(self, why: str) -> None:
        self._skipped.warn_of("malformed", "synap: skipped a message of the stream: %s", why)

    # --- events ------------------------------------------------------------------------------------------------

    def _remember(self, event_id: str, sent: _Sent) -> None:
        """Before the write: an acknowledgement can come back faster than the write returns."""
        self._unacknowledged[event_id] = sent
        if len(self._unacknowledged) > MAX_UNACKNOWLEDGED:
            self._unacknowledged.popitem(last=False)
            if not self._given_up:
                _log.warning("synap: the platform acknowledges too little; the oldest events will not be repeated")
            self._given_up += 1

    async def _written(self, sent: _Sent) -> None:
        while True:
            await self._up.wait()
            line = self._line
            if line is None or not self.active:
                raise _not_active()
            if sent.line is line or await self._try(sent, line):
                return

    async def _try(self, sent: _Sent, line: Line) -> bool:
        """Write the event on this line, in its session. False, if the line is over."""
        try:
            if sent.event.HasField("conversation_event"):
                await self._begin_session(sent, line)
                sent.event.conversation_event.timestamp_ms = int(datetime.now(UTC).timestamp() * 1000)
            await line.write(sent.event)
        except SynapError as error:
            if not error.retryable:
                raise
            self._up.clear()
            line.give_up()
            return False
        sent.line = line
        return True

    async def _begin_session(self, sent: _Sent, line: Line) -> None:
        """A session needs both ids; the platform refuses a start without a user."""
        event = sent.event.conversation_event
        if not (event.conversation_id and event.user_id):
            return
        scope = Scope(event.conversation_id, event.user_id, customer_id=event.customer_id or None)
        session = self._sessions.get(_owner(scope))
        if session is None:
            session_id = event.session_id if sent.in_session else str(uuid.uuid4())
            session = replace(scope, session_id=session_id)
            await line.write(session_control("start", scope=session))
            self._sessions[_owner(scope)] = session
            if len(self._sessions) > MAX_SESSIONS:
                await self.end_session(next(iter(self._sessions.values())))
        else:
            self._sessions.move_to_end(_owner(scope))
        if not sent.in_session:
            event.session_id = session.session_id or ""


def _owner(scope: Scope) -> _Owner:
    return scope.conversation_id, scope.user_id, scope.customer_id


def _not_active() -> ListeningNotActiveError:
    return ListeningNotActiveError("no stream is open: call await client.instance.listen() first")

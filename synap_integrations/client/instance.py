"""``client.instance``: the stream. What the agent does goes out, context comes in before it is asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from synap_integrations.errors import InvalidInputError, ListeningAlreadyActiveError, ListeningNotActiveError
from synap_integrations.model import ContextUsed, Inbound, Scope, new_id
from synap_integrations.wire import grpc_codec
from synap_integrations.wire.bundles import BundleDict
from synap_integrations.wire.report import EVENT_TYPES, ROLES, Report, string_map

from .connection import Connection, identified
from .line import Timing
from .listener import Listener
from .retry import Backoff
from .stream import Stream

_STREAM_ROLES: Final = (*ROLES, "tool", "system", "")
_TURNS: Final = frozenset({"user_message", "assistant_message"})


class Instance:
    """The documented calls on the stream. One stream per client, bound to the event loop that opened it."""

    def __init__(self, connection: Connection, *, timing: Timing | None = None, backoff: Backoff | None = None) -> None:
        self._connection = connection
        self._timing = timing or Timing()
        self._backoff = backoff or Backoff()
        self._stream: Stream | None = None
        self._opening = False
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    @property
    def is_listening(self) -> bool:
        """True while the stream is open and connected."""
        return self._stream is not None and self._lives() and self._stream.connected

    async def listen(
        self,
        on_reconnect: Callable[[int], object] | None = None,
        on_disconnect: Callable[[str], object] | None = None,
        on_context: Callable[[BundleDict], object] | None = None,
        *,
        on_inbound: Callable[[Inbound], None] | None = None,
        repeats: bool = True,
    ) -> None:
        """Open the stream; returns when it is open. Callbacks may be async, and what they raise is contained.

        ``on_reconnect`` gets the number of attempts it took, ``on_disconnect`` a reason, ``on_context`` each pushed
        bundle as a dict. ``on_inbound`` gets everything the platform says, acknowledgements included, in our words.
        Without ``repeats``, what a lost connection leaves unacknowledged is the caller's to send again.

        Raises: ListeningAlreadyActiveError; AuthenticationError; NetworkError; ServiceUnavailableError;
        InsufficientCreditsError; RateLimitError.
        """
        if self._opening or self._lives():
            message = "the stream is open already: call await client.instance.stop_listening() first"
            raise ListeningAlreadyActiveError(message)

        listener = Listener(
            self._connection.ids,
            on_reconnect=on_reconnect,
            on_disconnect=on_disconnect,
            on_context=on_context,
            on_inbound=on_inbound,
        )
        self._opening = True
        try:
            await self._connection.whoami()
            stream = Stream(
                self._connection.platform,
                self._connection.introduction,
                on_message=listener.heard,
                on_reconnect=listener.reconnected,
                on_disconnect=listener.disconnected,
                timing=self._timing,
                backoff=self._backoff,
                repeats=repeats,
            )
            await stream.open()
            self._stream, self._home = stream, (os.getpid(), asyncio.get_running_loop())
        finally:
            self._opening = False
        listener.connected()

    async def send_message(  # noqa: PLR0913, PLR0917 - the documented signature
        self,
        content: str,
        role: str = "user",
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
        event_type: str = "user_message",
        metadata: Mapping[str, object] | None = None,
        tool_name: str | None = None,
        tool_args: Mapping[str, object] | None = None,
        search_queries: Sequence[str] | None = None,
        context_types: Sequence[str] | None = None,
        *,
        tool_result: object = None,
        tool_call_id: str | None = None,
        event_id: str | None = None,
    ) -> None:
        """Report what the agent does; returns once it is written. The platform acknowledges it by its ``event_id``.

        ``event_type`` is one of user_message, assistant_message (these two are stored as turns), tool_call,
        tool_result, agent_thinking, context_request, context_fetch, session_start, session_end.

        Raises: InvalidInputError before anything is sent; ListeningNotActiveError without a stream;
        NetworkTimeoutError, if the stream takes nothing in time.
        """
        report = Report(
            event_type=_known("event_type", event_type, EVENT_TYPES),
            role=_known("role", role, _STREAM_ROLES),
            content=_string("content", content),
            tool_name=_string("tool_name", tool_name, optional=True),
            tool_args=tool_args,
            tool_result=tool_result,
            tool_call_id=_string("tool_call_id", tool_call_id, optional=True),
            search_queries=_strings("search_queries", search_queries),
            context_types=_strings("context_types", context_types),
            metadata=string_map(_mapping("metadata", metadata)),
        )
        required = ("conversation_id", "user_id") if event_type in _TURNS else ()
        ids = {"conversation_id": conversation_id, "user_id": user_id, "customer_id": customer_id}
        scope = identified(required=required, **ids, session_id=session_id)
        await self._send(report, scope, event_id or new_id())

    async def _send(self, report: Report, scope: Scope, event_id: str) -> None:
        stream = self._open_stream()
        await self._connection.admitted(scope, must_name_customer=False)
        if scope.user_id is None:
            scope = self._connection.owned(scope)
        sent, original = self._connection.addressed(scope)
        now = datetime.now(UTC)
        event = grpc_codec.conversation_event(
            report, event_id=event_id, scope=sent, sent_at=now, now=now, metadata=original
        )
        await stream.send(event)

    async def report_context_used(self, used: ContextUsed, *, scope: Scope) -> None:
        """Say which pushed items a model was shown. Raises: as `send_message`."""
        stream = self._open_stream()
        sent, _ = self._connection.addressed(scope)
        now = datetime.now(UTC)
        if used.assembly is not None:  # first, so that it is known when the report is read
            await stream.send(grpc_codec.receipt(used, used.assembly, scope=sent, now=now))
        await stream.send(grpc_codec.context_used(used, scope=sent, now=now))

    async def end_session(self, conversation_id: str) -> None:
        """The conversation is over for now; nothing happens if no session is open for it."""
        if self._stream is not None:
            for scope in self._connection.ids.known(conversation_id):
                sent, _ = self._connection.addressed(scope)
                await self._stream.end_session(sent)

    async def stop_listening(self, *, timeout_s: float = 2.0) -> None:
        """Close the stream: sessions end, the last acknowledgements are heard. Idempotent; at most ``timeout_s``."""
        stream, self._stream = self._stream, None
        if stream is not None and self._home == (os.getpid(), asyncio.get_running_loop()):
            await stream.close(timeout_s)

    def _lives(self) -> bool:
        """True while a stream is open: not one of a parent process, nor of an event loop that has ended."""
        if self._stream is None or self._home is None:
            return False
        pid, loop = self._home
        return pid == os.getpid() and loop.is_running() and self._stream.active

    def _open_stream(self) -> Stream:
        if self._stream is None or not self._lives() or self._home != (os.getpid(), asyncio.get_running_loop()):
            message = "no stream is open on this event loop: call await client.instance.listen() first"
            raise ListeningNotActiveError(message)
        return self._stream


def _known(name: str, value: object, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in known:
        return value
    message = f"{name} must be one of {', '.join(filter(None, known))}, not {value!r}"
    raise InvalidInputError(message, details={"argument": name})


def _string(name: str, value: object, *, optional: bool = False) -> Any:  # noqa: ANN401 - str, or None where optional
    if isinstance(value, str) or (optional and value is None):
        return value
    message = f"{name} must be a string, not {type(value).__name__}"
    raise InvalidInputError(message, details={"argument": name})


def _strings(name: str, value: Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not all(isinstance(entry, str) for entry in value):
        message = f"{name} must be a list of strings"
        raise InvalidInputError(message, details={"argument": name})
    return tuple(value)


def _mapping(name: str, value: object) -> Mapping[str, object]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    message = f"{name} must be a mapping, not {type(value).__name__}"
    raise InvalidInputError(message, details={"argument": name})

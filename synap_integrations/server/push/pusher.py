"""When to push, and to whom.

A push is computed after the event that causes it was answered, on one daemon thread that starts with the first push.
It never takes more than half of the time: after a push that took d, the next one waits d, so that recording in a hurry
is not slowed down by searching. Where pushes pile up, the newest turn of a conversation cancels the older one, searched
for or not, and the oldest go; somebody who asked gets an answer in any case, and at once.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from contextlib import suppress
from typing import Final, Protocol

from synap_integrations import after_fork
from synap_integrations.guard import contained
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Bundle, Owner

from .anticipation import Cause, Pattern, anticipate

MOST_WAITING: Final = 64
USUAL: Final[frozenset[Pattern]] = frozenset(
    {"session_start", "user_message", "context_request", "tool_call", "compaction"}
)
"""What causes pushes unless told otherwise: what a tool result brings has mostly been said already."""
_WITH_TOOL_RESULTS: Final[frozenset[Pattern]] = USUAL | frozenset[Pattern]({"tool_result"})
_CLOSE_WAIT_S: Final = 2.0
_PUSH: Final = contained("push")


def causes(*, tool_results: bool) -> frozenset[Pattern]:
    """What causes pushes, with tool results or without."""
    return _WITH_TOOL_RESULTS if tool_results else USUAL


class Listener(Protocol):
    """An open stream."""

    def push(self, bundle: Bundle) -> None:
        """Send the bundle to the client."""

    def speaks_for(self, owner: Owner) -> bool:
        """True if something of this user came in on this stream."""


class Pusher:
    """Computes pushes in the background and hands them to the streams that listen. Thread-safe.

    ``patterns`` are the causes that push.
    """

    def __init__(self, engine: Engine, *, patterns: frozenset[Pattern] = USUAL) -> None:
        self._engine = engine
        self._patterns = patterns
        self._start()
        after_fork.watch(self)

    def _start(self) -> None:
        self._changed = threading.Condition()
        # A stream that nobody holds any more is gone, whether or not its client said goodbye.
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._asked: OrderedDict[object, tuple[Cause, Listener | None]] = OrderedDict()
        self._waiting: OrderedDict[object, tuple[Cause, Listener | None]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False
        self._resume_s = 0.0

    def after_fork_in_child(self) -> None:
        """In a forked child: nobody listens yet, and nothing waits."""
        self._start()

    def add(self, listener: Listener) -> None:
        """From now on, what is pushed to everybody is pushed to this stream too, as long as somebody holds it."""
        with self._changed:
            self._listeners.add(listener)

    def remove(self, listener: Listener) -> None:
        """The stream is gone."""
        with self._changed:
            self._listeners.discard(listener)

    def listening(self) -> int:
        """How many streams are open."""
        with self._changed:
            return len(self._listeners)

    def request(self, cause: Cause, *, to: Listener | None = None) -> None:
        """Push what this event calls for, soon; to one stream, or to all that are open. Returns at once."""
        with self._changed:
            if self._closed or cause.pattern not in self._patterns or (to is None and not self._listeners):
                return
            if cause.urgent:
                self._asked[object()] = (cause, to)
            else:
                key = _replaced_by(cause)
                self._waiting.pop(key, None)
                self._waiting[key] = (cause, to)
                if len(self._waiting) > MOST_WAITING:
                    self._waiting.popitem(last=False)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="synap-push", daemon=True)
                with suppress(RuntimeError):  # the interpreter is ending, and nobody would read it
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def drain(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything that was requested is pushed. False if ``timeout_s`` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._asked or self._waiting or self._busy), timeout_s)

    def close(self) -> None:
        """Stop pushing; what waits is forgotten. Idempotent."""
        with self._changed:
            self._closed = True
            self._asked.clear()
            self._waiting.clear()
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_WAIT_S)

    # --- on the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (due := self._next()) is not None:
            cause, to = due
            started = time.monotonic()
            with _PUSH:
                self._push(cause, to)
            ended = time.monotonic()
            with self._changed:
                self._busy = False
                if not cause.urgent:
                    self._resume_s = 2 * ended - started
                self._changed.notify_all()

    def _next(self) -> tuple[Cause, Listener | None] | None:
        """The next push when its time has come; None when it is over."""
        with self._changed:
            while not self._closed:
                pause = self._resume_s - time.monotonic()
                if self._asked or (self._waiting and pause <= 0):
                    self._busy = True
                    return (self._asked or self._waiting).popitem(last=False)[1]
                self._changed.wait(pause if self._waiting else None)
        return None

    def _push(self, cause: Cause, to: Listener | None) -> None:
        bundle = anticipate(self._engine, cause)
        if bundle is None or _replaced_by(cause) in self._waiting:
            return
        self._engine.pushing(bundle)
        for listener in self._audience(cause) if to is None else [to]:
            with _PUSH:
                listener.push(bundle)

    def _audience(self, cause: Cause) -> list[Listener]:
        """The streams of the process that the user talks to; all of them, while nobody knows which that is."""
        with self._changed:
            listeners = [*self._listeners]
        return [listener for listener in listeners if listener.speaks_for(cause.owner)] or listeners


def _replaced_by(cause: Cause) -> object:
    """Equal for two causes if the newer cancels the older: both are turns of the same conversation."""
    return (cause.owner, cause.conversation_id) if cause.pattern == "user_message" else object()

"""What breaks inside us stays inside us.

Everything a framework calls runs inside ``contained(door)``: a fault becomes a counted incident and one log line a
minute per cause, never an exception in the application. This is the only place in the package that catches broadly.

Delivery runs inside `quiet`: whatever it calls (an instrumented HTTP client, a redaction hook that uses a chain) must
not be captured, or capture would feed itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal

from synap_integrations import after_fork

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)
_QUIET: Final = ContextVar("synap_quiet", default=False)


class Incidents:
    """Faults of ours that were kept from the application, counted by door and cause."""

    def __init__(self, *, log_every_s: float = 60.0) -> None:
        self.strict = False
        """Tests set this: a contained fault is raised instead of being counted."""
        self._log_every_s = log_every_s
        self._counts: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}
        self._lock = threading.Lock()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock: nobody holds it here."""
        self._lock = threading.Lock()

    def note(self, door: str, error: BaseException) -> None:
        """Count it, and log it unless the same cause was logged within the last minute."""
        cause = f"{door}: {type(error).__name__}"
        now = time.monotonic()
        with self._lock:
            self._counts[cause] += 1
            count = self._counts[cause]
            due = now - self._logged_at.get(cause, -self._log_every_s) >= self._log_every_s
            if due:
                self._logged_at[cause] = now
        if due:
            _log.warning(
                "synap: a fault was contained at %s (%d so far); the application is not affected",
                cause,
                count,
                exc_info=error if _log.isEnabledFor(logging.DEBUG) else None,
            )

    def counts(self) -> dict[str, int]:
        """Faults so far, by ``"door: ErrorName"``."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._counts.clear()
            self._logged_at.clear()


incidents: Final = Incidents()

Door = Literal[
    "ask",
    "attach",
    "callbacks",
    "deliver",
    "dev http",
    "dev stream",
    "embedded answer",
    "embedded stream",
    "exit",
    "identify",
    "inbound",
    "mask",
    "model",
    "patterns",
    "push",
    "recall",
    "record",
    "sigterm",
    "synap-embed",
    "synap-embed-query",
    "synap-extract",
    "tool",
]
"""Where a framework, a thread or a process comes in: what a fault is counted under. The type checker holds the list."""


class contained(AbstractContextManager[None]):  # noqa: N801 - reads as a statement: ``with contained("record"):``
    """Keep our faults out of the application.

    Doors in use are those of `Door`. A context manager written as a class, because it
    is entered several times per callback and holds no state: one instance per door can be shared by all threads.
    ``KeyboardInterrupt``, cancellation and other non-``Exception``s pass through.
    """

    __slots__ = ("_door",)

    def __init__(self, door: Door) -> None:
        self._door = door

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Swallow an ``Exception`` after noting it."""
        if error is None or not isinstance(error, Exception):
            return False
        incidents.note(self._door, error)
        return not incidents.strict


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is captured in here, nor in the tasks started from here."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        # See `scoping.context`: a generator may be closed from a context that never saw this.
        with suppress(ValueError):
            _QUIET.reset(token)


def pause() -> AbstractContextManager[None]:
    """Nothing of what runs inside this block is captured, and no context is put into its prompts.

    Works across ``await`` and in tasks started inside. A thread started inside sees it only if it was given the context
    (``contextvars.copy_context``). What is asked for on purpose, by a retriever or a tool, is answered. Never raises.
    """
    return quiet()


def is_quiet() -> bool:
    """True inside `quiet` and `pause`: neither capture nor context must happen."""
    return _QUIET.get()

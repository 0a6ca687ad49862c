"""A chore on a thread of its own: begins when there is something to do, waits when there is not, ends when closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from synap_integrations import after_fork
from synap_integrations.guard import Door, contained, quiet

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
_CLOSE_WAIT_S: Final = 2.0


class Background:
    """Calls ``chore`` on a daemon thread. Thread-safe; after a fork the child has a thread of its own.

    ``chore`` does a part of the work and returns the seconds after which it wants to be called again: 0 if there is
    more to do, None if it has nothing to do until `wake`. One that raises is tried again after a pause that doubles
    from 1 s to 5 minutes; the fault is counted. What it calls is not captured.
    """

    def __init__(self, name: Door, chore: Callable[[], float | None]) -> None:
        self._name = name
        self._chore = chore
        self._door = contained(name)
        self._begin()
        after_fork.watch(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._woken = False
        self._idle = True
        self._closed = False
        self.failing = False
        """True from a failure of the chore until it has done something again."""

    def after_fork_in_child(self) -> None:
        """In a forked child: the thread stayed behind."""
        self._begin()

    def wake(self) -> None:
        """There may be something to do. Returns at once."""
        with self._changed:
            if self._closed:
                return
            self._woken = True
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                with suppress(RuntimeError):  # the interpreter is ending: another wake, or the next start
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until there is nothing to do. False if ``timeout_s`` seconds were not enough, or if the chore fails."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle and not self._woken, timeout_s)

    def close(self) -> None:
        """Begin no more of it, and wait a moment for what is under way. Idempotent."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_WAIT_S)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        with quiet():
            while not self._closed:
                with self._changed:
                    self._woken, self._idle = False, False
                again_s, failed = pause_s, True
                with self._door:
                    again_s, failed = self._chore(), False  # type: ignore[assignment] # None is "when woken"
                if failed or again_s is not None:
                    self.failing = failed
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) if failed else _FIRST_PAUSE_S
                self._rest(again_s, failed=failed)

    def _rest(self, again_s: float | None, *, failed: bool) -> None:
        """Wait until it is time again. Being woken ends the wait, except the one after a fault."""
        until_s = None if again_s is None else time.monotonic() + again_s
        with self._changed:
            self._idle = not failed and again_s != 0
            self._changed.notify_all()
            while not self._closed and (failed or not self._woken):
                left_s = None if until_s is None else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return
                self._changed.wait(left_s)

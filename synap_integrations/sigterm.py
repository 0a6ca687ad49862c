"""Opt-in (``SYNAP_DRAIN_ON_SIGTERM``): on SIGTERM deliver what waits, then do what would have been done without us.

For containers whose files end with them: nobody delivers later what waits there. Loaded before a program under
`synap run`, and therefore small.

The wait happens in a handler, in the middle of anything the main thread does, our own locks included. So the work is
done in another thread, which is not waited for longer than was asked for.

Source: Python 3.11, library/signal, "Execution of Python signal handlers"; Modules/signalmodule.c
"""

from __future__ import annotations

import _thread
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Sigterm:
    """The handler of this process. Thread-safe; at most one is put in place, and what comes over it later stays."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._drains: list[Callable[[float], object]] = []
        self._previous: Callable[[int, FrameType | None], object] | int | None = None
        self._settled = self._said = self._draining = False

    def install(self, seconds: float) -> None:
        """Have SIGTERM wait for delivery for at most so many seconds; 0 changes nothing. Never raises.

        Only in the main thread, and only in front of a handler of Python's or the default action; otherwise one line
        in the log says what is missing.
        """
        if not seconds > 0:
            return
        self._seconds = max(self._seconds, seconds)
        if self._settled:
            return
        self._previous = signal.getsignal(signal.SIGTERM)
        if self._previous is None:
            self._warn("its handler is not one of Python's")
            return
        try:
            if self._previous is not signal.SIG_IGN:
                signal.signal(signal.SIGTERM, self._on_sigterm)
            self._settled = True
        except ValueError as error:  # not the main thread, or not the main interpreter
            self._warn(str(error))

    def drain_with(self, drain: Callable[[float], object]) -> None:
        """Call this in a thread, with the time (`time.monotonic`) at which it has to be done."""
        self._drains.append(drain)

    def _warn(self, why: str) -> None:
        if not self._said:
            self._said = True
            import logging  # noqa: PLC0415 - see above

            logging.getLogger(__name__).warning("synap: SIGTERM does not wait for delivery: %s", why)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self._drains and not self._draining:  # who sends it twice does not want to wait
            self._draining = True
            try:
                self._drain()
            finally:
                self._draining = False
        if callable(self._previous):
            self._previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _drain(self) -> None:
        deadline = time.monotonic() + self._seconds
        done = _thread.allocate_lock()
        done.acquire()

        def drain() -> None:
            from .guard import contained  # noqa: PLC0415 - see above

            try:
                with contained("sigterm"):
                    for one in list(self._drains):
                        one(deadline)
            finally:
                done.release()

        try:
            # `threading` would wait for a lock that the interrupted code may hold.
            _thread.start_new_thread(drain, ())
        except RuntimeError:  # no thread can be had now: the next start delivers
            return
        done.acquire(timeout=self._seconds)


sigterm = Sigterm()

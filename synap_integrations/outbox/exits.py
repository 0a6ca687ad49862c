"""The end of the process: what waits is delivered as far as the time allows, and every store is let go of."""

from __future__ import annotations

import atexit

# asyncio resolves names in executor threads, which are gone when ``atexit`` runs; so we say farewell where the
# executors do. The last to register there is called first, so theirs has to be there before ours. And it is imported
# before any thread runs, because its fork hooks must not appear in the middle of a fork.
# Source: CPython 3.11, Lib/threading.py, _register_atexit; Lib/concurrent/futures/thread.py
import concurrent.futures.thread as executors
import threading
import time
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

from synap_integrations.guard import contained
from synap_integrations.sigterm import sigterm

GOODBYE_SHARE: Final = 0.2
"""Of the time that an end may take: for the farewell to the platform, after deliveries."""


class Leaving(Protocol):
    """A worker that can come to its end; see `DeliveryWorker`."""

    shutdown_timeout_s: float

    def drain(self, deadline: float) -> object:
        """Deliver what waits, and go on."""

    def finish(self, deadline: float) -> object:
        """Deliver what waits; nothing is accepted any more."""

    def halt(self) -> object:
        """Tell the thread to stop."""

    def leave(self, deadline: float) -> bool:
        """Let go of thread and store; True if nothing was left behind."""


class Exits:
    """One farewell for all workers of the process, within one timeout, while executors still work."""

    def __init__(self) -> None:
        self._workers: weakref.WeakSet[Leaving] = weakref.WeakSet()
        self._late: weakref.WeakSet[Leaving] = weakref.WeakSet()
        self._registered = self._over = self._ended = False

    def watch(self, worker: Leaving) -> bool:
        """Include the worker in the farewell; False if it is too late, and nothing should be started any more."""
        if not self._registered:
            self._registered = True
            sigterm.drain_with(self.drain)
            try:
                getattr(threading, "_register_atexit", atexit.register)(self.farewell)
            except RuntimeError:  # the interpreter is shutting down
                self._over = True
        if not self._over:
            self._workers.add(worker)
        return not self._over

    def let_go_of(self, worker: Leaving) -> None:
        """Something was appended too late to be delivered, and has opened the store again: close it at the very end."""
        self._late.add(worker)
        if self._ended:
            worker.leave(0.0)

    def end(self) -> None:
        """Let go of the stores of the late: one that the interpreter has to close is a ResourceWarning.

        Source: CPython 3.13, Modules/_sqlite/connection.c, connection_finalize.
        """
        self._ended = True
        with contained("exit"):
            for worker in list(self._late):
                worker.leave(0.0)

    def drain(self, deadline: float) -> None:
        """Deliver what waits, and go on: the process may not end yet."""
        for worker in list(self._workers):
            worker.drain(deadline)

    def farewell(self) -> None:
        """Deliver what can be delivered in the time that an exit may take, once the application's threads have ended.

        Source: `threading._shutdown` calls this when the main thread has ended, before it joins the other threads.
        """
        with contained("exit"):
            _join_the_application()
        self._over = True
        workers = list(self._workers)
        with contained("exit"):
            close_all(workers, max((worker.shutdown_timeout_s for worker in workers), default=0.0))


def _join_the_application() -> None:
    """Wait for the threads that the interpreter waits for next: they may capture and recall until they end.

    Not for those that end only when somebody tells them to, after us: the threads of executors, and, where others
    want to be called at this moment too, any.
    """
    callers = {getattr(_called(call), "__module__", None) for call in getattr(threading, "_threading_atexits", ())}
    if not callers <= {__name__, executors.__name__}:
        return
    left_out = {threading.main_thread(), threading.current_thread()}
    while alive := [
        thread
        for thread in threading.enumerate()
        if not (thread.daemon or thread in left_out or thread in getattr(executors, "_threads_queues", ()))
    ]:
        for thread in alive:
            thread.join()


def _called(call: object) -> object:
    """The function that somebody has registered, None if that cannot be told.

    Source: Lib/threading.py, _register_atexit: a partial in CPython 3.11 and 3.12, a closure over ``func`` in 3.13
    """
    if isinstance(call, partial):
        return call.func
    code, cells = getattr(call, "__code__", None), getattr(call, "__closure__", None) or ()
    held = dict(zip(getattr(code, "co_freevars", ()), cells, strict=False))
    return held["func"].cell_contents if "func" in held else None


def close_all(workers: Sequence[Leaving], timeout_s: float) -> bool:
    """Close them within one timeout; True if none left anything behind."""
    deadline = time.monotonic() + timeout_s
    for worker in workers:
        worker.finish(deadline - GOODBYE_SHARE * timeout_s)
    for worker in workers:
        worker.halt()
    empty = [worker.leave(deadline) for worker in workers]
    return all(empty)


exits: Final = Exits()
# What a program registers after it has loaded us is called before this.
atexit.register(exits.end)

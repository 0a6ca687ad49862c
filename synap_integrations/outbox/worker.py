"""The one daemon thread: started by the first wake, alive in its own process only, gone within its time at exit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from synap_integrations.guard import contained, quiet
from synap_integrations.model import Envelope, Inbound
from synap_integrations.ports import OutboxStore, Transport

from . import forks, threads
from .exits import GOODBYE_SHARE, close_all, exits

if TYPE_CHECKING:
    import asyncio
    import random

    from .delivery import Delivery
    from .pace import Rhythm
    from .pending_asks import PendingAsk

_DELIVER: Final = contained("deliver")
_START_S: Final = 0.5
"""Time after the start in which the stream may be on its way up."""
_RESTART_S: Final = 1.0
_FORK_WAIT_S: Final = 5.0
_MAX_RESTART_S: Final = 60.0


class DeliveryWorker:
    """Delivers from a store on a thread of its own. Thread-safe; construction starts nothing.

    ``transport`` is called on the thread, when it starts. ``on_inbound`` hears there what the platform says.
    ``loop_factory``, ``rhythm`` and ``rng`` are for tests: another clock, other durations, other dice.
    """

    def __init__(  # noqa: PLR0913 - parts by name
        self,
        store: OutboxStore,
        transport: Callable[[], Transport],
        *,
        on_inbound: Callable[[Inbound], None] = lambda _: None,
        shutdown_timeout_s: float = 2.0,
        rhythm: Rhythm | None = None,
        rng: random.Random | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._store = store
        self._transport = transport
        self._on_inbound = on_inbound
        self.shutdown_timeout_s = shutdown_timeout_s
        self._rhythm, self._rng, self._loop_factory = rhythm, rng, loop_factory
        self._closed = False
        self._start_empty()
        forks.watch(self)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._delivery: Delivery | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._waiting: list[tuple[int, threading.Event]] = []
        self._eager: list[Envelope] = []
        self._asks: list[PendingAsk] = []
        self._started_at = 0.0
        self._loading, self._fork_waits = threading.Lock(), False

    # --- any thread ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something was appended. Costs three attribute reads while delivery is busy."""
        delivery = self._delivery
        if delivery is None:
            self._start()
        elif delivery.wants_wakeup:
            delivery.wants_wakeup = False
            self._call(delivery.something_new)
        if delivery is not None and self._store.overdue and not delivery.maintenance_requested:
            delivery.maintenance_requested = True
            self._call(delivery.request_maintenance)

    def submit(self, envelope: Envelope) -> bool:
        """Send it now or never, stored nowhere. False at once if the stream is not known to be up, or delivery is held.

        Just after the start nothing is known yet: then it is sent as soon as the stream is up.
        """
        starting = time.monotonic() - self._started_at < _START_S if self._started_at else not self._closed
        delivery = self._delivery
        if delivery is None:
            if not starting or not self.able:
                return False
            self._eager.append(envelope)
            self._start()
            return self._call(self._pass_on_eager) or self._thread is not None
        known_up = delivery.stream.up or (starting and delivery.stream.new)
        return known_up and not delivery.pace.why and self._call(delivery.pass_on, envelope)

    def ask(self, pending: PendingAsk) -> bool:
        """Have it answered on the thread, started if need be. False if that cannot be: closed, or we are the thread."""
        if self._closed or self._thread is threading.current_thread() or not self.able:
            return False
        self._asks.append(pending)
        self._start()
        return self._call(self._pass_on_asks) or self._thread is not None

    def hurry(self) -> None:
        """Somebody waits for an answer to what was appended last."""
        if (delivery := self._delivery) is not None:
            self._call(delivery.look_now)

    def drop(self, event_ids: Collection[str]) -> None:
        """They were deleted from the store: do not send them, unless that is just happening."""
        if event_ids and (delivery := self._delivery) is not None:
            self._call(delivery.drop, event_ids)

    def _pass_on_eager(self) -> None:
        while self._eager and self._delivery is not None:
            self._delivery.pass_on(self._eager.pop(0))

    def _pass_on_asks(self) -> None:
        while self._asks and self._delivery is not None:
            self._delivery.ask(self._asks.pop(0))

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything appended so far is delivered or a dead letter. False after ``timeout_s`` seconds."""
        mark = self._store.mark()
        if self._delivery is None and self._store.passed(mark) and not self._store.has_orphans():
            return True
        self._start()
        return self._passed(mark, time.monotonic() + timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Deliver what is left for at most ``timeout_s`` seconds, then let go of thread, network and store.

        True if nothing was left behind. Idempotent; what is appended later waits for the next start.
        """
        return close_all([self], timeout_s)

    def drain(self, deadline: float) -> bool:
        """Wait until what was appended so far is settled, at most until ``deadline``, and go on."""
        return self._thread is None or self._passed(self._store.mark(), deadline, give_up_if_held=True)

    def finish(self, deadline: float) -> None:
        """Start nothing any more, and deliver what is there until ``deadline``."""
        with self._lock:
            self._closed = True
        if self._thread is not None:
            self._passed(self._store.mark(), deadline, give_up_if_held=True)

    def halt(self) -> None:
        """Tell the thread to stop."""
        self._stop.set()
        if (delivery := self._delivery) is not None:
            self._call(delivery.stop)

    def leave(self, deadline: float) -> bool:
        """Let go of thread and store; True if nothing was left behind."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        self._store.close()
        return not self._store.counts().waiting

    def state(self) -> str:
        """What delivery is doing now, in a word or two."""
        delivery = self._delivery
        if self._closed:
            return "closed"
        if delivery is None and not self.able:
            return f"held: threads are replaced by {threads.replaced_by()}"
        if delivery is None:
            return "not started" if self._thread is None else "starting"
        if delivery.pace.why:
            return f"held: {delivery.pace.why}"
        return "delivering" if delivery.stream.up else "delivering, no stream"

    # --- the thread ------------------------------------------------------------------------------------------

    @property
    def able(self) -> bool:
        """True if it can have a thread: gevent and eventlet have none to give."""
        return self._thread is not None or not threads.replaced_by()

    def _start(self) -> None:
        if not self.able:
            threads.refusal(threads.replaced_by())
            return
        if self._closed or not exits.watch(self):
            exits.let_go_of(self)
            return
        with self._lock:
            if self._thread is not None or self._closed:
                return
            self._started_at = time.monotonic()
            thread = threading.Thread(target=self._run, name="synap-delivery", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be had now: a later turn, or the next start, delivers
                return
            self._thread = thread

    def _run(self) -> None:
        """Deliver, and begin anew if that breaks by a fault of ours."""
        pause_s = _RESTART_S
        with quiet():
            while not self._stop.is_set():
                with _DELIVER:
                    self._deliver()
                self._delivery = self._loop = None
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, _MAX_RESTART_S)

    def _deliver(self) -> None:
        with self._loading:
            import asyncio  # noqa: PLC0415 - so that a program that records nothing does not load it

            from .delivery import Delivery  # noqa: PLC0415 - see above
            from .event_loop import DeliveryLoop  # noqa: PLC0415 - see above

        async def deliver() -> None:
            self._loop = asyncio.get_running_loop()
            with self._loading:
                transport = self._transport()
            delivery = Delivery(
                self._store,
                transport,
                on_inbound=self._on_inbound,
                on_progress=self._tell_waiting,
                rhythm=self._rhythm,
                rng=self._rng,
            )
            self._store.put_all_back()
            self._delivery = delivery
            self._pass_on_eager()
            self._pass_on_asks()
            if self._stop.is_set():  # before there was anything to stop
                delivery.stop()
            await delivery.run(goodbye_s=GOODBYE_SHARE * self.shutdown_timeout_s)

        with asyncio.Runner(loop_factory=self._loop_factory or DeliveryLoop) as runner:
            runner.run(deliver())

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        """Run it on the thread's loop; False if there is none any more."""
        loop = self._loop
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # it has just been closed
            return False
        return True

    # --- waiting ---------------------------------------------------------------------------------------------

    def _passed(self, mark: int, deadline: float, *, give_up_if_held: bool = False) -> bool:
        """Wait until everything before the mark, and what was adopted at the start, is settled."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return self._store.passed(mark)
        settled = threading.Event()
        waiting = (mark, settled)
        self._waiting.append(waiting)
        try:
            while not self._is_settled(mark):
                settled.clear()
                if (delivery := self._delivery) is not None:
                    if give_up_if_held and delivery.pace.suspended:
                        return False
                    self._call(delivery.expedite)
                if (left := deadline - time.monotonic()) <= 0 or not thread.is_alive():
                    return False
                settled.wait(min(left, 1.0))
        finally:
            self._waiting.remove(waiting)
        return True

    def _is_settled(self, mark: int) -> bool:
        delivery = self._delivery
        return delivery is not None and delivery.adopted and self._store.passed(mark)

    def _tell_waiting(self) -> None:
        for mark, settled in list(self._waiting):
            if self._is_settled(mark):
                settled.set()

    # --- forks -----------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let the thread finish what it imports: in the child, a module that is half there stays so."""
        self._fork_waits = self._loading.acquire(timeout=_FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._fork_waits:
            self._loading.release()

    def after_fork_in_child(self) -> None:
        """The thread is the parent's; the first record here starts another one."""
        self._start_empty()

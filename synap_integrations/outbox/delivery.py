"""From the outbox to the platform: order, retries, acknowledgements. Runs on one event loop and takes its time."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from synap_integrations.errors import SynapError
from synap_integrations.guard import contained
from synap_integrations.model import Ack, Envelope, Inbound, Signal
from synap_integrations.ports import Handover, OutboxStore, Transport

from .calls import outcome_of
from .capture_throttle import CaptureThrottle
from .lanes import Lane, Lanes
from .outcomes import Outcomes
from .pace import Pace, Rhythm
from .pending_asks import BackgroundTasks, PendingAsk
from .poison import PoisonDetector
from .stream_kinds import StreamKinds
from .stream_supervisor import StreamSupervisor
from .verdicts import AWAIT_STREAM, Verdict, judge

_DELIVER: Final = contained("deliver")
_INBOUND: Final = contained("inbound")

_IN_MEMORY: Final = 256
_CLAIM: Final = 128
_IN_A_ROW: Final = 16
"""Envelopes of one conversation that are sent before the next conversation has its turn."""


class Delivery:
    """Delivers what a store holds, until it is told to stop. ``on_progress`` is called whenever something was settled.

    Every envelope of a conversation is sent after the one before it was delivered or written; a conversation that has
    to wait does not keep others waiting. One exception: while no stream can be had, events that travel on the stream
    only are kept aside, and the turns of their conversation go on. A turn that the last stream may have taken keeps its
    conversation waiting: for the next stream, or until there is another way for it.
    """

    def __init__(  # noqa: PLR0913 - parts by name
        self,
        store: OutboxStore,
        transport: Transport,
        *,
        on_inbound: Callable[[Inbound], None],
        on_progress: Callable[[], None] = lambda: None,
        rhythm: Rhythm | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._transport = transport
        self._on_inbound = on_inbound
        self._on_progress = on_progress
        self._rhythm = rhythm or Rhythm()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._thread = threading.get_ident()
        self.pace = Pace(self._rng)
        self.stream = StreamSupervisor(transport, self._hear, self._stream_decided, rng=self._rng)
        self.wants_wakeup = False
        """True if the store should say when there is something new."""
        self.adopted = False
        """True once what earlier processes left has been taken over."""
        self._lanes = Lanes()
        self._wake = asyncio.Event()
        self._couriers: set[asyncio.Task[None]] = set()
        self._background = BackgroundTasks()
        self._poison = PoisonDetector()
        self._stream_kinds = StreamKinds(self.stream)
        self._outcomes = Outcomes(
            store=store,
            lanes=self._lanes,
            stream=self.stream,
            pace=self.pace,
            poison=self._poison,
            stream_kinds=self._stream_kinds,
            rhythm=self._rhythm,
            rng=self._rng,
            now=self._now,
            on_progress=on_progress,
        )
        self._throttle = CaptureThrottle(store, self._now)
        self._look_at = self._maintain_at = self._adopt_at = -math.inf
        self.maintenance_requested = False  # until what `request_maintenance` asks for is done
        self._may_claim = self._stopping = False
        self._fault: BaseException | None = None

    # --- what others ask, on this loop -----------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def something_new(self) -> None:
        """Something was appended while we were idle."""
        self._throttle.begin()
        self._look_at = max(self._look_at, self._now() + self._rhythm.claim_s)
        self._loop.call_at(self._look_at, self._wake.set)

    def look_now(self) -> None:
        """Whoever captured something waits for an answer to it, and captures no more until then."""
        self._throttle.begin()
        self._look_at = -math.inf
        self._wake.set()

    def request_maintenance(self) -> None:
        """So much was written that the store should be looked after now."""
        self._maintain_at = -math.inf
        self._wake.set()

    def expedite(self) -> None:
        """Somebody waits for delivery: end all waits that are ours to end."""
        self._throttle.hurry()
        self.pace.expedite()
        self.stream.expedite()
        self._store.expedite()
        self.look_now()

    def pass_on(self, envelope: Envelope) -> None:
        """Send one envelope now or never; it is in no store."""
        self._background.begin(self._pass_on(envelope))

    def ask(self, pending: PendingAsk) -> None:
        """Have it answered; no order, no retry."""
        self._background.begin(pending.run(self._transport))

    async def _pass_on(self, envelope: Envelope) -> None:
        if await self.stream.decided():
            await self._attempt(envelope)

    def drop(self, event_ids: Collection[str]) -> None:
        """These are not in the store any more, and nobody wants them delivered."""
        for event_id in event_ids:
            self._outcomes.forget(event_id)

    def stop(self) -> None:
        """Finish; what is under way stays in the store."""
        self._stopping = True
        self._wake.set()

    # --- the loop --------------------------------------------------------------------------------------------

    async def run(self, *, goodbye_s: float = 0.3) -> None:
        """Deliver until `stop`; then at most ``goodbye_s`` for the farewell."""
        stream = asyncio.create_task(self.stream.keep(), name="synap-stream")
        stream.add_done_callback(self._ended)
        try:
            while not self._stopping:
                if self._fault is not None:
                    raise self._fault
                self._wake.clear()
                self._upkeep()
                self._refill()
                self._dispatch()
                await self._wait_for_work()
        finally:
            tasks = [stream, *self._couriers, *self._background.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with _DELIVER, suppress(TimeoutError):
                async with asyncio.timeout(goodbye_s):
                    await self._transport.close(goodbye_s)
            self._outcomes.settle()

    def _upkeep(self) -> None:
        now = self._now()
        if now >= self._adopt_at:
            while self._store.adopt():
                pass
            crowded = self._store.crowded
            self.adopted = not crowded
            self._on_progress()
            pause_s = self._rhythm.crowded_s if crowded else self._rhythm.adopt_s
            self._adopt_at = now + pause_s * self._rng.uniform(0.8, 1.2)
        if self._outcomes.delivered and (now >= self._outcomes.settle_at or not self._lanes):
            self._outcomes.settle()
        if now >= self._maintain_at:
            busy = self._store.maintain() or not self.wants_wakeup
            self.maintenance_requested = False
            self._maintain_at = now + (self._rhythm.maintain_s if busy else self._rhythm.adopt_s)
        oldest = self._lanes.oldest_unacknowledged()
        if oldest is not None and now >= oldest.at + self._rhythm.ack_s:
            self._lanes.send_again()
        self._outcomes.retire_poison(now)

    def _refill(self) -> None:
        """Claim, if there is room in memory and the envelopes can go."""
        now = self._now()
        room = _IN_MEMORY - len(self._lanes)
        self._may_claim = room >= _IN_MEMORY // 2 and self.pace.allowance(now) > 0
        self.wants_wakeup = self._may_claim and now >= self._look_at
        if self.wants_wakeup and not self._throttle.is_quiet():
            self._look_at, self.wants_wakeup = now + self._rhythm.claim_s, False
        if self.wants_wakeup:
            # What is appended from here on wakes us; what was appended before is found by this claim.
            envelopes = self._store.claim(min(room, _CLAIM), skip=self._stream_kinds.to_skip)
            if envelopes:
                self._lanes.add(envelopes)
                self._look_at = now + self._rhythm.claim_s
                self._maintain_at = min(self._maintain_at, now + self._rhythm.maintain_s)
                self.wants_wakeup = False

    def _dispatch(self) -> None:
        allowed = self._allowance()
        while len(self._couriers) < allowed and not self._window_is_full and (lane := self._lanes.next_lane()):
            courier = asyncio.create_task(self._serve(lane), name="synap-courier")
            self._couriers.add(courier)
            courier.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._couriers.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
        self._wake.set()

    async def _wait_for_work(self) -> None:
        """Sleep until something can be done."""
        now = self._now()
        waits = [self._adopt_at - now, self._maintain_at - now]
        if (resume := self.pace.wait_s(now)) is not None:
            waits.append(resume)
        if self._outcomes.delivered:
            waits.append(self._outcomes.settle_at - now)
        if (oldest := self._lanes.oldest_unacknowledged()) is not None:
            waits.append(oldest.at + self._rhythm.ack_s - now)
        if (over_at := self._poison.over_at) is not None:
            waits.append(over_at - now)
        if self._may_claim and not self.wants_wakeup:
            waits.append(self._look_at - now)
        if self._may_claim and (due := self._store.next_due_s()) is not None:
            waits.append(max(due, self._look_at - now))
        timer = self._loop.call_later(max(0.0, min(waits)), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    # --- one conversation ------------------------------------------------------------------------------------

    async def _serve(self, lane: Lane) -> None:
        """Send the next envelopes of one conversation, in order."""
        for _ in range(_IN_A_ROW):
            if self._window_is_full or not self._allowance() or not (envelope := self._lanes.next_in(lane)):
                break
            streams = self.stream.streams
            outcome = await self._attempt(envelope)
            lost = outcome is Handover.WRITTEN and streams != self.stream.streams  # with the stream before, it may be
            if lost and not self._lanes.is_early(envelope.event_id):
                self._lanes.set_aside(lane)
            elif not self._outcomes.conclude(lane, envelope, outcome):
                return
            if self._throttle.look():
                await asyncio.sleep(self._rhythm.give_way_s)
                break
        self._lanes.give_back(lane)

    async def _attempt(self, envelope: Envelope) -> Handover | Verdict:
        if type(envelope.event).__name__ in self._stream_kinds.to_skip:
            return AWAIT_STREAM
        outcome = await outcome_of(self._transport.send(envelope), within_s=self._rhythm.send_s)
        if isinstance(outcome, SynapError):
            return judge(outcome, self._outcomes.attempts[envelope.event_id] + 1)
        return outcome

    @property
    def _window_is_full(self) -> bool:
        return self._lanes.unacknowledged >= self._poison.window

    def _allowance(self) -> int:
        allowed = self.pace.allowance(self._now())
        return min(allowed, 1) if self._poison.alone or self._throttle.due else allowed

    # --- what the platform says ------------------------------------------------------------------------------

    def _hear(self, inbound: Inbound) -> None:
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._hear, inbound)
            return
        if isinstance(inbound, Ack):
            for event_id in inbound.event_ids:
                if event_id in self._lanes:
                    self._poison.acknowledged()
                if self._lanes.acknowledged(event_id):
                    self._outcomes.has_arrived(event_id)
            self._wake.set()
        elif isinstance(inbound, Signal):
            if inbound.kind == "disconnected":
                lanes = self._lanes
                self._poison.stream_ended(lanes.oldest_unacknowledged(), lanes.unacknowledged, self._now())
            self.stream.hear(inbound)
        with _INBOUND:
            self._on_inbound(inbound)

    def _stream_decided(self) -> None:
        if self.stream.up:
            self._poison.stream_began(self._now())
            if self._stream_kinds.wait:
                self._stream_kinds.wait = False
                self._store.expedite()
        self._lanes.send_again(first=self._poison.suspect)
        for lane in self._outcomes.awaiting_stream:
            self._lanes.give_back(lane)
        self._outcomes.awaiting_stream.clear()
        self._wake.set()

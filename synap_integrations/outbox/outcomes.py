"""What becomes of an envelope that was sent: deleted, awaited on the stream, tried again, kept for people to see."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from synap_integrations.model import Envelope
from synap_integrations.ports import Handover, OutboxStore
from synap_integrations.rate_limited_log import RateLimitedLog

from .lanes import Lane, Lanes
from .pace import Pace, Rhythm, backoff_s
from .poison import UNDECIDED_S, PoisonDetector
from .stream_kinds import StreamKinds
from .stream_supervisor import StreamSupervisor
from .verdicts import POISON, Do, Verdict

_SETTLE_AT: Final = 128


@dataclass(slots=True, kw_only=True, eq=False)
class Outcomes:
    """Acts on what became of each attempt. Used on the delivery thread only; ``now`` is its loop's clock.

    ``on_progress`` is called whenever something was settled.
    """

    store: OutboxStore
    lanes: Lanes
    stream: StreamSupervisor
    pace: Pace
    poison: PoisonDetector
    stream_kinds: StreamKinds
    rhythm: Rhythm
    rng: random.Random
    now: Callable[[], float]
    on_progress: Callable[[], None]
    delivered: list[str] = field(default_factory=list[str])
    """What has arrived and is not deleted yet, so that deletions share a commit."""
    settle_at: float = -math.inf
    """When they are to be deleted, with whatever has joined them."""
    awaiting_stream: list[Lane] = field(default_factory=list[Lane])
    """Conversations that wait until it is known whether there is a stream."""
    attempts: Counter[str] = field(default_factory=Counter[str])
    """Attempts that failed, of what is in memory."""
    _log: RateLimitedLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = RateLimitedLog(logging.getLogger(__name__), clock=self.now)

    def conclude(self, lane: Lane, envelope: Envelope, outcome: Handover | Verdict) -> bool:
        """Act on what became of it; True if the conversation may go on."""
        if isinstance(outcome, Verdict) and not self.lanes.is_early(envelope.event_id):
            return self._handle_failure(lane, envelope, outcome)
        if self.pace.succeeded():
            self.store.expedite()  # what waited because of the same trouble need not wait any longer
        if outcome is Handover.DELIVERED or self.lanes.is_early(envelope.event_id):
            self.has_arrived(envelope.event_id)
        else:
            self.lanes.written(envelope, self.now())
            self.stream_kinds.carried(envelope)
        lane.current = None
        return True

    def _handle_failure(self, lane: Lane, envelope: Envelope, verdict: Verdict) -> bool:
        event_id = envelope.event_id
        if verdict.do is Do.AWAIT_STREAM:
            return self._without_stream(lane, envelope, verdict)
        self.attempts[event_id] += 1
        if verdict.do in {Do.BURY, Do.HOLD}:
            if verdict.do is not Do.HOLD:
                self.pace.succeeded()  # the platform works: it has read and refused this one
            self._retire(event_id, verdict)
            lane.current = None
            if self.store.strict_order:
                self.store.release(self.lanes.drop(lane), retry_after_s=0.0)
            return not self.store.strict_order
        self.pace.failed(verdict, self.now())
        wait_s = backoff_s(self.attempts[event_id], self.rng) if verdict.do is Do.RETRY else 0.0
        self.store.release([event_id], retry_after_s=wait_s, reason=verdict.why)
        self.store.release(self.lanes.drop(lane), retry_after_s=0.0)
        return False

    def _without_stream(self, lane: Lane, envelope: Envelope, verdict: Verdict) -> bool:
        """It needs the stream: wait while that may come up. If it does not, keep it aside and go on; or wait with the
        conversation for another way, if what follows could overtake it.
        """
        self.stream.ended()
        if self.stream.undecided:
            self.lanes.set_aside(lane)
            self.awaiting_stream.append(lane)
            return False
        if verdict.wait_s > 0:
            self.stream_kinds.wait = True
            self.store.release([envelope.event_id], retry_after_s=verdict.wait_s, reason=verdict.why)
            self.store.release(self.lanes.drop(lane), retry_after_s=0.0)
            return False
        self.stream_kinds.stranded(envelope)
        self.lanes.done(envelope.event_id)
        self.store.release([envelope.event_id], retry_after_s=0.0)
        lane.current = None
        return True

    def _retire(self, event_id: str, verdict: Verdict) -> None:
        keep, fate = self.store.bury, "was refused for good; it is a dead letter"
        if verdict.do is Do.HOLD:
            keep, fate = self.store.hold, "may have arrived or not; it is held"
        self._log.warn_of(f"{fate} {verdict.why}", "synap: an event %s (%s): see `synap outbox ls`", fate, verdict.why)
        keep(event_id, f"{verdict.why}: {verdict.detail}")
        self.forget(event_id)
        self.on_progress()

    def has_arrived(self, event_id: str) -> None:
        """The platform has it: delete it soon, together with others."""
        if not self.delivered:
            self.settle_at = self.now() + self.rhythm.settle_s
        self.delivered.append(event_id)
        self.forget(event_id)
        if len(self.delivered) >= _SETTLE_AT:
            self.settle()

    def forget(self, event_id: str) -> None:
        """Nothing of it stays in memory."""
        self.lanes.done(event_id)
        self.attempts.pop(event_id, None)
        self.poison.forget(event_id)

    def settle(self) -> None:
        """Delete what has arrived."""
        if self.delivered:
            delivered, self.delivered = self.delivered, []
            self.store.acknowledge(delivered)
            self.on_progress()

    def retire_poison(self, now: float) -> None:
        """An event that ends each stream it is written on must not keep everything else from being delivered."""
        judgement = self.poison.judged(now)
        if judgement is not None:
            withdrawn = self.lanes.withdraw(judgement.event_id)
            if judgement.is_poison:
                self._retire(judgement.event_id, POISON)
            else:
                self.store.release(withdrawn[:1], retry_after_s=UNDECIDED_S, reason=POISON.why)
            self.store.release(withdrawn[1:], retry_after_s=0.0)

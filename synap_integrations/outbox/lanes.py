"""Envelopes that were claimed and are not settled: each conversation in its own lane, in its own order. No I/O."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from synap_integrations.model import Envelope

Key = tuple[str | None, str | None]


@dataclass(slots=True, eq=False)
class Lane:
    """One conversation. ``current`` is being sent now."""

    key: Key
    waiting: deque[Envelope] = field(default_factory=deque[Envelope])
    current: Envelope | None = None

    def ids(self) -> list[str]:
        """Everything in it, in order."""
        under_way = [] if self.current is None else [self.current.event_id]
        return under_way + [envelope.event_id for envelope in self.waiting]


@dataclass(frozen=True, slots=True)
class Written:
    """On the stream since ``at``, not acknowledged yet."""

    envelope: Envelope
    at: float


class Lanes:
    """Who is next. Used on the delivery thread only."""

    def __init__(self) -> None:
        self._lanes: dict[Key, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._unacknowledged: OrderedDict[str, Written] = OrderedDict()
        self._early: set[str] = set()
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, event_id: object) -> bool:
        """True for what is not settled."""
        return event_id in self._ids

    @property
    def unacknowledged(self) -> int:
        """How many are on the stream."""
        return len(self._unacknowledged)

    def add(self, envelopes: Iterable[Envelope]) -> None:
        """Newly claimed envelopes, in order."""
        for envelope in envelopes:
            self._ids.add(envelope.event_id)
            self._lane_of(envelope).waiting.append(envelope)

    def _lane_of(self, envelope: Envelope) -> Lane:
        key = (envelope.scope.customer_id, envelope.scope.conversation_id)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
            self._ready.append(lane)
        return lane

    def next_lane(self) -> Lane | None:
        """A conversation that nobody works on, taken out of the line."""
        return self._ready.popleft() if self._ready else None

    def next_in(self, lane: Lane) -> Envelope | None:
        """The envelope of the lane to send now."""
        while lane.waiting:
            envelope = lane.waiting.popleft()
            if envelope.event_id in self._ids:  # else it was acknowledged while it waited to be sent again
                lane.current = envelope
                return envelope
        return None

    def set_aside(self, lane: Lane) -> None:
        """Nobody works on it, and nobody shall for now; what was being sent is first in it again."""
        if lane.current is not None:
            lane.waiting.appendleft(lane.current)
            lane.current = None

    def give_back(self, lane: Lane) -> None:
        """Nobody works on it any more."""
        lane.current = None
        if lane.waiting:
            self._ready.append(lane)
        else:
            self._lanes.pop(lane.key, None)

    def drop(self, lane: Lane) -> list[str]:
        """Take the whole lane out of memory; returns the ids, the one that was being sent first."""
        ids = [event_id for event_id in lane.ids() if event_id in self._ids]
        self._ids.difference_update(ids)
        self._early.difference_update(ids)
        self._lanes.pop(lane.key, None)
        return ids

    def withdraw(self, event_id: str) -> list[str]:
        """Take the lane out of memory in which this one waits first, as `drop`; nothing, if somebody works on it."""
        for lane in self._ready:
            if lane.waiting and lane.waiting[0].event_id == event_id:
                self._ready.remove(lane)
                return self.drop(lane)
        return []

    def done(self, event_id: str) -> None:
        """Delivered, buried or given back: nothing of it stays here."""
        self._ids.discard(event_id)
        self._early.discard(event_id)
        self._unacknowledged.pop(event_id, None)

    def written(self, envelope: Envelope, now: float) -> None:
        """It is on the stream."""
        self._unacknowledged[envelope.event_id] = Written(envelope, now)

    def is_early(self, event_id: str) -> bool:
        """True if its acknowledgement came before we knew that it was written."""
        return event_id in self._early

    def acknowledged(self, event_id: str) -> bool:
        """False if it is still being sent: then `is_early` tells that it is settled."""
        if event_id not in self._unacknowledged and self._being_sent(event_id):
            self._early.add(event_id)
            return False
        return True

    def _being_sent(self, event_id: str) -> bool:
        return any(lane.current is not None and lane.current.event_id == event_id for lane in self._lanes.values())

    def oldest_unacknowledged(self) -> Written | None:
        """The one that was written first."""
        return next(iter(self._unacknowledged.values()), None)

    def send_again(self, *, first: str | None = None) -> None:
        """What is not acknowledged goes to the front of its lane, in order; the lane of ``first`` is next."""
        lanes = [self._lane_of(written.envelope) for written in self._unacknowledged.values()]
        for lane, written in zip(reversed(lanes), reversed(self._unacknowledged.values()), strict=True):
            lane.waiting.appendleft(written.envelope)
            if written.envelope.event_id == first and lane in self._ready:
                self._ready.remove(lane)
                self._ready.appendleft(lane)
        self._unacknowledged.clear()

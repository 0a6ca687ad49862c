"""Whatever happens in whatever order, the outbox agrees with a dict: nothing lost, nothing twice, figures exact."""

import shutil
import tempfile
from pathlib import Path

from clocks import ManualClock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox

CONVERSATIONS = ("a", "b", "c")
CAP = 8
"""Rows; few enough to be reached."""


class OutboxMachine(RuleBasedStateMachine):
    """An outbox beside its model: what waits, in order, and what is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.waiting: dict[str, Envelope] = {}
        self.taken: list[str] = []
        self.held: dict[str, float] = {}
        self.delivered: set[str] = set()
        self.dead = self.captured = self.adopted = self.refused = 0
        self.was_delivered = self.were_dead = 0
        self.start()

    def start(self) -> None:
        """A process begins."""
        self.outbox = SqliteOutbox(self.folder / "outbox", max_rows=CAP, clock=self.clock, capture_wait_s=30)

    def claimable(self) -> list[Envelope]:
        """What may go now, in order."""
        return [
            envelope
            for event_id, envelope in self.waiting.items()
            if event_id not in self.taken and envelope.scope.conversation_id not in self.held
        ]

    @rule(conversation=st.sampled_from(CONVERSATIONS), text=st.text(max_size=20))
    def append(self, conversation: str, text: str) -> None:
        """Capture one turn."""
        envelope = Envelope.seal(Scope(conversation, "ana"), UserMessage(text))
        self.outbox.append(envelope)
        self.captured += 1
        if len(self.waiting) < CAP:
            self.waiting[envelope.event_id] = envelope
        else:
            self.refused += 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        """The same turn, captured twice."""
        self.outbox.append(data.draw(st.sampled_from(list(self.waiting.values()))))
        if len(self.waiting) >= CAP:  # at the cap nobody looks whether it is a repeat
            self.captured += 1
            self.refused += 1

    @rule(limit=st.integers(1, 10))
    def claim(self, limit: int) -> None:
        """The next turns, in order, none twice."""
        expected = self.claimable()[:limit]
        claimed = self.outbox.claim(limit)
        assert [envelope.event_id for envelope in claimed] == [envelope.event_id for envelope in expected]
        self.taken += [envelope.event_id for envelope in claimed]

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Some of those under way arrive, in any order, some of them twice, some unknown."""
        ids = data.draw(st.lists(st.sampled_from(self.taken), max_size=5))
        self.outbox.acknowledge([*ids, *ids[:1], "unknown"])
        for event_id in set(ids):
            del self.waiting[event_id]
            self.taken.remove(event_id)
            self.delivered.add(event_id)
            self.was_delivered += 1

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), wait=st.sampled_from([0.0, 5.0, 60.0]))
    def release(self, data: st.DataObject, wait: float) -> None:
        """One of those under way failed."""
        event_id = data.draw(st.sampled_from(self.taken))
        self.outbox.release([event_id], retry_after_s=wait)
        self.taken.remove(event_id)
        if wait:
            conversation = self.waiting[event_id].scope.conversation_id or ""
            self.held[conversation] = max(self.clock.now + wait, self.held.get(conversation, 0))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        """The platform refuses one for good."""
        event_id = data.draw(st.sampled_from(list(self.waiting)))
        self.outbox.bury(event_id, "refused")
        del self.waiting[event_id]
        if event_id in self.taken:
            self.taken.remove(event_id)
        self.dead += 1
        self.were_dead += 1

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        """Waits end."""
        self.clock.advance(seconds)
        self.held = {name: until for name, until in self.held.items() if until > self.clock.now}

    @rule()
    def maintain(self) -> None:
        """Tidying up changes nothing."""
        self.outbox.maintain()

    @rule()
    def restart(self) -> None:
        """The process ends, another one begins and adopts: everything that waited waits, dead letters stay dead."""
        self.outbox.close()
        self.start()
        while self.outbox.adopt():
            pass
        self.taken, self.held = [], {}
        self.captured = self.refused = self.was_delivered = 0
        self.adopted = len(self.waiting) + self.dead
        self.were_dead = self.dead

    @invariant()
    def figures_are_exact(self) -> None:
        """They add up, and they are the model's."""
        counts = self.outbox.counts()
        assert counts.add_up, counts
        assert (counts.captured, counts.adopted, counts.delivered) == (
            self.captured, self.adopted, self.was_delivered,
        ), counts  # fmt: skip
        assert (counts.waiting, counts.refused, counts.dead_letters) == (
            len(self.waiting), self.refused, self.were_dead,
        ), counts  # fmt: skip

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.outbox.close()
        shutil.rmtree(self.folder)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

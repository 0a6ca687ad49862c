"""Whatever happens in whatever order, the outbox agrees with a dict: nothing lost, nothing twice, figures exact.

Forks, lost connections and the power going are not among it: they need processes, a platform, and disks that forget
what was not synced (tests/crash, tests/unit/test_outbox_stream.py, equipment/power_loss.py).
"""

import base64
import random
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from clocks import ManualClock
from faulty_disk import FULL, OK, FaultyDisk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.settings import Secret

CONVERSATIONS = ("a", "b", "c")
CAP = 8
"""Rows; few enough to be reached."""


class OutboxMachine(RuleBasedStateMachine):
    """An outbox beside its model: what waits, in order, and what is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = FaultyDisk(self.folder).__enter__()
        self.clock = ManualClock()
        self.wall = datetime(2026, 5, 16, tzinfo=UTC).timestamp()
        self.keys: list[Secret] = []
        self.died = 0
        self.waiting: dict[str, Envelope] = {}
        self.taken: list[str] = []
        self.held: dict[str, float] = {}
        self.delivered: set[str] = set()
        self.dead: dict[str, str] = {}
        self.captured = self.adopted = self.refused = self.forgotten = 0
        self.was_delivered = self.were_dead = 0
        self.start()

    def start(self) -> None:
        """A process begins."""
        self.outbox = SqliteOutbox(
            self.folder / f"outbox-{self.died}",
            max_rows=CAP,
            clock=self.clock,
            wall=lambda: self.wall,
            capture_wait_s=30,
            sealing=Sealing(self.keys),
        )

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
        envelope = self.said(conversation, text)
        self.outbox.append(envelope)
        self.captured += 1
        if len(self.waiting) < CAP:
            self.waiting[envelope.event_id] = envelope
        else:
            self.refused += 1

    def said(self, conversation: str, text: str) -> Envelope:
        """At what the wall clock shows."""
        now = datetime.fromtimestamp(self.wall, UTC)
        return Envelope.seal(Scope(conversation, "ana"), UserMessage(text), occurred_at=now)

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
        self.arrived(ids)

    def arrived(self, ids: list[str]) -> None:
        """They wait no more."""
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
        self.dead[event_id] = self.waiting.pop(event_id).scope.conversation_id or ""
        if event_id in self.taken:
            self.taken.remove(event_id)
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

    @rule(seconds=st.sampled_from([-86_400.0, -60.0, -0.001, 0.001, 60.0, 86_400.0]))
    def step_the_wall_clock(self, seconds: float) -> None:
        """Nothing depends on it."""
        self.wall += seconds

    @precondition(lambda self: self.captured and len(self.waiting) < CAP)  # a file is open
    @rule(texts=st.lists(st.text(max_size=20), min_size=1, max_size=3), data=st.data())
    def fill_the_disk_for_a_while(self, texts: list[str], data: st.DataObject) -> None:
        """What is captured meanwhile is refused, what arrives is not sent again; then there is room, and it goes on."""
        ids = data.draw(st.lists(st.sampled_from(self.taken), max_size=3)) if self.taken else []
        self.disk.on_write = lambda path, nth: FULL
        for text in texts:
            self.outbox.append(self.said("a", text))
            self.captured += 1
            self.refused += 1
        self.outbox.acknowledge(ids)
        claimed = [envelope.event_id for envelope in self.outbox.claim(1)]
        assert claimed == [envelope.event_id for envelope in self.claimable()[: len(claimed)]]
        self.taken += claimed
        self.disk.on_write = lambda path, nth: OK
        self.pass_time(60.0)
        self.outbox.maintain()
        self.arrived(ids)

    @rule(conversation=st.sampled_from(CONVERSATIONS))
    def forget(self, conversation: str) -> None:
        """Somebody wants a conversation forgotten: what waits, what is under way, and dead letters."""
        waiting = [event_id for event_id, one in self.waiting.items() if one.scope.conversation_id == conversation]
        dead = [event_id for event_id, where in self.dead.items() if where == conversation]
        event_ids, erased = self.outbox.forget(Scope(conversation))
        assert sorted(event_ids) == sorted(waiting + dead)
        assert (erased.waiting, erased.dead_letters) == (len(waiting), len(dead))
        assert erased.under_way == len(set(waiting) & set(self.taken))
        for event_id in waiting:
            del self.waiting[event_id]
        for event_id in dead:
            del self.dead[event_id]
        self.taken = [event_id for event_id in self.taken if event_id in self.waiting]
        self.were_dead -= len(dead)
        self.forgotten += len(waiting) + len(dead)

    @rule()
    def restart(self) -> None:
        """The process ends, another one begins and adopts: everything that waited waits, dead letters stay dead."""
        self.outbox.close()
        self.begin_again()

    @rule()
    def crash(self) -> None:
        """The process is killed. What the next one finds is what was written, without a close, an unlock or a sync."""
        left, self.died = self.folder / f"outbox-{self.died}", self.died + 1
        if left.exists():
            shutil.copytree(left, self.folder / f"outbox-{self.died}")
        abandoned = self.outbox
        self.begin_again()
        abandoned.close()
        shutil.rmtree(left, ignore_errors=True)

    @rule(seed=st.integers(0, 2**32))
    def rotate_the_key(self, seed: int) -> None:
        """The next process has a new key, and those before it."""
        self.keys = [Secret(base64.b64encode(random.Random(seed).randbytes(32)).decode()), *self.keys][:3]
        self.restart()

    def begin_again(self) -> None:
        """The next process, and what it takes over."""
        self.start()
        while self.outbox.adopt():
            pass
        self.taken, self.held = [], {}
        self.captured = self.refused = self.was_delivered = self.forgotten = 0
        self.adopted = len(self.waiting) + len(self.dead)
        self.were_dead = len(self.dead)

    @invariant()
    def figures_are_exact(self) -> None:
        """They add up, and they are the model's."""
        counts = self.outbox.counts()
        assert counts.add_up, counts
        assert (counts.captured, counts.adopted, counts.delivered) == (
            self.captured, self.adopted, self.was_delivered,
        ), counts  # fmt: skip
        assert (counts.waiting, counts.refused, counts.dead_letters, counts.forgotten) == (
            len(self.waiting), self.refused, self.were_dead, self.forgotten,
        ), counts  # fmt: skip

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.outbox.close()
        self.disk.__exit__()
        shutil.rmtree(self.folder)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

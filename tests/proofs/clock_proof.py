"""A wall clock that is set forward and back at every step, by seconds, hours and years: what that costs."""

import random
from dataclasses import dataclass
from pathlib import Path

from clocks import ManualClock
from delivery_world import turn

from synap_integrations.outbox import SqliteOutbox

STEPS_S = (-31_536_000, -86_400, -3_600, -1, 0, 1, 600, 3_600, 86_400, 31_536_000)
PAUSE_S = 10.0


@dataclass(frozen=True)
class Figures:
    """``early``: turns handed out before their pause was over; ``late``: not handed out when it was."""

    steps: int
    lost: int
    early: int
    late: int
    inversions: int
    unaccounted: int


def measure(folder: Path, *, steps: int, seed: int = 3) -> Figures:
    """Capture, hand out, deliver some and put off the others, with a step of the clock between any two of these."""
    rng, clock, now = random.Random(seed), ManualClock(), [1_700_000_000.0]
    outbox = SqliteOutbox(folder / "outbox", capture_wait_s=30, clock=clock, wall=lambda: now[0])
    captured: list[str] = []
    arrived: list[str] = []
    early = late = inversions = 0
    put_off: set[str] = set()
    for number in range(steps):
        for _ in range(2):
            outbox.append(envelope := turn(str(number)))
            captured.append(envelope.event_id)
            now[0] += rng.choice(STEPS_S)
        claimed = [envelope.event_id for envelope in outbox.claim(100)]
        early += len(put_off & set(claimed))
        at_once = len(claimed)
        now[0] += rng.choice(STEPS_S)
        clock.advance(PAUSE_S + 1)
        claimed += [envelope.event_id for envelope in outbox.claim(100)]
        late += len(set(captured) - set(arrived) - set(claimed))
        order = {event_id: at for at, event_id in enumerate(captured)}
        inversions += any(part != sorted(part, key=order.get) for part in (claimed[:at_once], claimed[at_once:]))
        half = (len(claimed) + 1) // 2
        delivered, put_off = claimed[:half], set(claimed[half:])
        outbox.acknowledge(delivered)
        arrived += delivered
        outbox.release(put_off, retry_after_s=PAUSE_S)
        outbox.maintain()
        now[0] += rng.choice(STEPS_S)
    clock.advance(PAUSE_S + 1)
    arrived += [envelope.event_id for envelope in outbox.claim(len(captured))]
    counts = outbox.counts()
    outbox.close()
    return Figures(steps, len(set(captured) - set(arrived)), early, late, inversions, int(not counts.add_up))

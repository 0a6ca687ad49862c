"""Named places where a process can be killed: before or after a function of the product, or between two of its writes.

Run as a program: ``killpoints.py FOLDER SEED POINT…``. For each point a child is forked that captures, delivers, adopts
what its predecessors left, tidies up and ends; it kills itself when it comes to the point for the n-th time. Prints
``told TURN`` for each turn whose capture had returned, and ``reached POINT`` for each child that died where it should.
The product has no line for this: a point says which function is wrapped.
"""

import importlib
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import zygote
from faulty_disk import OK, FaultyDisk

from synap_integrations.model import Envelope, Scope, UserMessage


@dataclass(frozen=True)
class Point:
    """``when``: before or after the call of ``target``, with half of its data, or inside, at its second write."""

    what: str
    target: str
    when: str
    often: int = 3
    """How often a process comes there at least."""


OUTBOX = "synap_integrations.outbox"
POINTS = {
    "K1": Point("before the turn is encoded", f"{OUTBOX}.rows:encode", "before"),
    "K2": Point("encoded, not queued", f"{OUTBOX}.rows:encode", "after"),
    "K3": Point("queued, not committed", f"{OUTBOX}.row_store:RowStore.keep", "before"),
    "K4": Point("inside the commit", f"{OUTBOX}.row_table:RowTable.insert", "inside"),
    "K5": Point("committed, the caller not told", f"{OUTBOX}.row_store:RowStore.keep", "after"),
    "K6": Point("the caller told", "zygote:tell", "after"),
    "K7": Point("on record as possibly sent, nothing sent", f"{OUTBOX}.row_table:RowTable.mark_written", "after"),
    "K8": Point("half of it sent", "zygote:FileReceiver.write", "half"),
    "K9": Point("all of it sent, no answer", "zygote:FileReceiver.write", "after"),
    "K10": Point("answered, not deleted", f"{OUTBOX}.sqlite:SqliteOutbox.acknowledge", "before"),
    "K11": Point("inside the deletion", f"{OUTBOX}.row_table:RowTable.delete", "inside", 1),
    "K12": Point("deleted, old ids let go", f"{OUTBOX}.row_table:RowTable.forget_seen", "after"),
    "K13": Point("an orphan locked", f"{OUTBOX}.adoption:Adoption._adopt", "before", 1),
    "K14": Point("an orphan half adopted", f"{OUTBOX}.takeover:AdoptionTarget.take_in", "after"),
    "K14b": Point("an orphan adopted, its file not deleted", f"{OUTBOX}.takeover:AdoptionTarget.admit", "after", 1),
    "K15": Point("inside a checkpoint", f"{OUTBOX}.row_table:RowTable.checkpoint", "inside", 1),
    "K17": Point("in the farewell at the exit", f"{OUTBOX}.worker:DeliveryWorker.finish", "before", 1),
    "K18": Point("in a forked child before its first own file", f"{OUTBOX}.storage:Storage._new", "before", 1),
}
TURNS = 30


def die() -> None:
    """As by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)


def arm(point: Point, nth: int, folder: Path) -> None:
    """From now on this process dies when it comes to the point for the n-th time."""
    module, _, path = point.target.partition(":")
    *holders, last = path.split(".")
    holder: object = importlib.import_module(module)
    for part in holders:
        holder = getattr(holder, part)
    calls, inside = [0], [0]
    original = getattr(holder, last)
    if point.when == "inside":
        disk = FaultyDisk(folder).__enter__()

        def second(_path: str, _nth: int) -> int:
            inside[0] += bool(inside[0])
            if inside[0] > 2:
                die()
            return OK

        disk.on_write = second

    def wrapped(*arguments, **named):
        calls[0] += 1
        now = calls[0] == nth
        if now and point.when == "before":
            die()
        if now and point.when == "half":
            receiver, data = arguments
            original(receiver, data[: len(data) // 2])
            die()
        inside[0] = int(calls[0] >= nth and point.when == "inside")  # a call that writes nothing does not count
        outcome = original(*arguments, **named)
        inside[0] = 0
        if now and point.when == "after":
            die()
        return outcome

    setattr(holder, last, wrapped)


def live(folder: Path, name: str, told: int) -> None:
    """The life of a process: capture, deliver, adopt, tidy up, fork, end."""
    importlib.import_module(f"{OUTBOX}.adoption")._CHUNK = 2
    outbox, worker = zygote.desk(folder)
    for number in range(TURNS):
        outbox.append(Envelope.seal(Scope(f"c-{name}-{number % 3}", "ana"), UserMessage(f"{name}-{number}")))
        zygote.tell(told, f"{name}-{number}")
        if number == TURNS // 2:
            worker.wake()
            worker.flush(10)
            outbox.maintain()
            outbox._row_store.storage.table.checkpoint()
    worker.flush(10)
    outbox.maintain()
    worker.close(5)


def main() -> None:
    """One child for each point, one after the other in one folder, so that each finds what the last one left."""
    importlib.import_module(f"{OUTBOX}.delivery")
    folder, rng = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    for child, name in enumerate(sys.argv[3:]):
        reading, writing = os.pipe()
        if not (pid := os.fork()):
            os.close(reading)
            arm(POINTS[name], rng.randint(1, POINTS[name].often), folder)
            live(folder, f"{name}.{child}", writing)
            os._exit(0)
        os.close(writing)
        turns = zygote.told(reading)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status := os.waitpid(pid, 0)[1]) else 0
        sys.stdout.write("".join(f"told {turn}\n" for turn in turns))
        sys.stdout.write(f"{'reached' if killed == signal.SIGKILL else 'missed'} {name}\n")


if __name__ == "__main__":
    main()

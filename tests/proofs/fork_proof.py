"""A process that splits again and again while its threads capture and deliver: neither side loses or doubles a turn."""

import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import zygote
from arrivals import Arrivals, settled

from synap_integrations.model import Envelope, Scope, UserMessage

WRITERS, OF_CHILD, LONGEST_LIFE_S = 3, 10, 60


@dataclass(frozen=True)
class Figures(Arrivals):
    """``failed``: children that did not end as they should."""

    forks: int
    failed: int


def measure(folder: Path, *, forks: int, turns: int) -> Figures:
    """So many turns in each of three threads, meanwhile so many forks; every child captures, delivers and ends."""
    outbox, worker = zygote.desk(folder)

    def write(name: str, count: int) -> None:
        for number in range(count):
            outbox.append(Envelope.seal(Scope(f"c-{name}", "ana"), UserMessage(f"{name}-{number}")))
            worker.wake()

    writers = [threading.Thread(target=write, args=(f"parent{n}", turns), daemon=True) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    children = []
    for child in range(forks):
        if not (pid := os.fork()):
            signal.alarm(LONGEST_LIFE_S)  # a child that hangs fails
            write(f"child{child}", OF_CHILD)
            if child % 2:
                worker.close(10)
            os._exit(0)
        children.append(pid)
    failed = sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in children)
    for writer in writers:
        writer.join(LONGEST_LIFE_S)
    stuck = sum(writer.is_alive() for writer in writers)
    worker.flush(30)
    worker.close(10)
    told = {f"parent{n}-{number}" for n in range(WRITERS) for number in range(turns)}
    told |= {f"child{child}-{number}" for child in range(forks) for number in range(OF_CHILD)}
    figures = Figures(**asdict(settled(folder, told)), forks=forks, failed=failed + stuck)
    sys.stdout.flush()
    return figures

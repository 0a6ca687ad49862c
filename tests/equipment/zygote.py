"""A process that has everything imported and forks a child for each case, to be killed at a random moment.

Run as a program: ``zygote.py FOLDER KILLS SEED``. Each child captures turns into the outbox in FOLDER while its
delivery thread hands them to a receiver, a file that survives the child. Prints the turns whose capture had returned,
one ``child-number`` per line. A fork costs milliseconds where an interpreter costs half a second.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import sabotage

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, SqliteOutbox
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.ports import Handover
from synap_integrations.settings import Settings

sabotage.from_environment()

END = " ."
"""Ends a line that was written as a whole."""
_MOST_TURNS = 1_000_000
"""Of one child."""


class FileReceiver:
    """A platform that appends ``event_id conversation text`` to a file: what it has, it keeps."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def open(self, on_inbound) -> None:
        """Nothing to open."""

    async def send(self, envelope: Envelope) -> Handover:
        """One line, written at once or, by somebody who dies meanwhile, in part."""
        line = f"{envelope.event_id} {envelope.scope.conversation_id} {envelope.event.content}{END}"
        self.write(f"\n{line}".encode())
        return Handover.DELIVERED

    def write(self, data: bytes) -> None:
        """What is written stays, whoever dies."""
        os.write(self._file, data)

    async def close(self, timeout_s: float) -> None:
        """The file stays."""


def received(folder: Path) -> list[tuple[str, str, str]]:
    """What the receiver got: id, conversation, text."""
    lines = (folder / "received").read_text(encoding="utf-8").splitlines()
    whole = [line.removesuffix(END).split(" ", 2) for line in lines if line.endswith(END)]
    return [(event_id, conversation, text) for event_id, conversation, text in whole]


def desk(folder: Path) -> tuple[SqliteOutbox, DeliveryWorker]:
    """An outbox, sealed if the environment has a key, and the worker that delivers from it.

    A stuck machine shall not turn into a pending turn.
    """
    outbox = SqliteOutbox(folder / "outbox", capture_wait_s=30, sealing=Sealing.of(Settings.read()))
    return outbox, DeliveryWorker(outbox, lambda: FileReceiver(folder / "received"))


def _is_long_lived(child: int) -> bool:
    """Every fifth dies while it sends, deletes and adopts; the others before they have come to that."""
    return child % 5 == 4


def tell(told: int, turn: str) -> None:
    """Its capture has returned."""
    os.write(told, f"{turn}\n".encode())


def capture(folder: Path, child: int, told: int, *, relay: str = "") -> None:
    """Capture until killed; tell of each turn after its capture has returned.

    Every fourth turn is of the conversation ``relay``, in which one child goes on after the other: the numbers of turns
    go on as well.
    """
    outbox, worker = desk(folder)
    number = child * _MOST_TURNS
    while True:
        conversation = relay if relay and number % 4 == 3 else f"c-{child}-{number % 3}"
        outbox.append(Envelope.seal(Scope(conversation, "ana"), UserMessage(f"{child}-{number}")))
        tell(told, f"{child}-{number}")
        worker.wake()
        number += 1
        if _is_long_lived(child):
            time.sleep(0.004)  # slowly enough for delivery not to give way
        elif number % 50 == 0:
            time.sleep(0.001)


def kill_one(folder: Path, child: int, rng: random.Random) -> list[str]:
    """Fork a child, kill it a few milliseconds after its first turn; returns the turns it told of."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        capture(folder, child, writing, relay="relay")
    os.close(writing)
    said = os.read(reading, 1_000)
    time.sleep(rng.uniform(0.05, 0.4) if _is_long_lived(child) else rng.uniform(0, 0.03))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return told(reading, said)


def told(reading: int, said: bytes = b"") -> list[str]:
    """The turns that a child told of before it died; closes the pipe."""
    while more := os.read(reading, 1_000_000):
        said += more
    os.close(reading)
    # The last line may be cut: then its capture had returned all the same, but we cannot tell which it was.
    return said.decode().splitlines() if said.endswith(b"\n") else said.decode().splitlines()[:-1]


def main() -> None:
    """Kill as many as asked for, and tell what was captured."""
    folder, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    import synap_integrations.outbox.delivery  # noqa: F401, PLC0415 - so that no child has to

    Sealing.of(Settings.read())  # loads the cipher, if there is a key
    for child in range(kills):
        sys.stdout.write("".join(f"{turn}\n" for turn in kill_one(folder, child, rng)))


if __name__ == "__main__":
    main()

"""What a disk may hold after the power went: every moment of a recorded run, with unsynced writes lost, kept or torn.

What was written to a file before its last sync is there. Of what came later any part may be: nothing, all of it, any of
the writes, the last one cut anywhere. Names of files are taken to be durable with the file's first
sync, as on the file systems in use. With ``syncs_count=False`` no sync counts, and the check has to find losses.
"""

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faulty_disk import FaultyDisk, Op

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.adoption import Salvage
from synap_integrations.outbox.row_table import RowTable
from synap_integrations.outbox.rows import decode
from synap_integrations.outbox.schema import SCHEMA_VERSION
from synap_integrations.outbox.sealing import Sealing


@dataclass(frozen=True)
class Run:
    """What an outbox did, and what it was told."""

    log: list[Op]
    envelopes: dict[str, Envelope]


@dataclass(frozen=True)
class State:
    """What is on the disk when the power comes back, and what may be expected of it."""

    files: dict[str, bytes]
    promised: frozenset[str]
    """Must be there."""
    at: int


@dataclass
class _File:
    durable: bytes | None = b""
    pending: list[Op] = field(default_factory=list)


def recorded(folder: Path, *, durability: str, turns: int = 40, seed: int = 3) -> Run:
    """Capture, deliver, tidy up; write down what reaches the disk, and when a turn is promised to be there."""
    rng, envelopes = random.Random(seed), {}
    real_fsync = os.fsync

    with FaultyDisk(folder) as disk:

        def fsync(file: int) -> None:
            real_fsync(file)
            disk.log.append(Op("sync", str(Path(f"/proc/self/fd/{file}").readlink())))

        os.fsync = fsync
        try:
            outbox = SqliteOutbox(folder, durability=durability, capture_wait_s=30)
            for number in range(turns):
                envelope = Envelope.seal(
                    Scope(f"c-{number % 3}", "ana"), UserMessage(f"{number} " + "x" * (number * 37))
                )
                envelopes[envelope.event_id] = envelope
                outbox.append(envelope)
                disk.mark("kept" if durability == "power" else "captured", envelope.event_id)
                if rng.random() < 0.2:
                    delivered = [claimed.event_id for claimed in outbox.claim(3)]
                    disk.mark("delivered", frozenset(delivered))
                    outbox.acknowledge(delivered)
                if rng.random() < 0.15:
                    outbox.maintain()
                    disk.mark("brought to disk")
                if rng.random() < 0.05 and (table := outbox._row_store.storage.table):
                    table.checkpoint(truncate=rng.random() < 0.5)
            outbox.close()
        finally:
            os.fsync = real_fsync
    return Run(disk.log, envelopes)


def states(run: Run, *, each: int, seed: int = 5, syncs_count: bool = True) -> Iterator[State]:
    """``each`` possible states for every moment of the run."""
    rng = random.Random(seed)
    files: dict[str, _File] = defaultdict(_File)
    captured: set[str] = set()
    kept: set[str] = set()
    for at, op in enumerate(run.log):
        match op.kind:
            case "sync":
                if syncs_count:
                    _bring_to_disk(files, op.path)
            case "captured":
                captured.add(op.note)
            case "kept":
                kept.add(op.note)
            case "brought to disk":
                kept |= captured
            case "delivered":
                captured -= op.note
                kept -= op.note
            case _:
                files[op.path].pending.append(op)
        for choice in range(each):
            held = {path: _survived(file, choice, rng) for path, file in files.items()}
            yield State({path: data for path, data in held.items() if data is not None}, frozenset(kept), at)


def _bring_to_disk(files: dict[str, _File], path: str) -> None:
    file = files[path]
    file.durable, file.pending = _applied(file.durable, file.pending), []
    if path.endswith("-wal"):
        # The first sync of a log syncs the folder as well, and a deletion that came before becomes final.
        # Source: sqlite3 os_unix.c, unixSync, UNIXFILE_DIRSYNC; seen with strace.
        for other in files.values():
            if other.pending and other.pending[-1].kind == "delete":
                other.durable, other.pending = None, []


def _survived(file: _File, choice: int, rng: random.Random) -> bytes | None:
    pending = file.pending
    if choice == 0:
        pending = []
    elif choice >= 2:
        pending = [op for op in pending if rng.random() < 0.6]
        if pending and pending[-1].kind == "write" and rng.random() < 0.5:
            last = pending[-1]
            pending[-1] = Op("write", last.path, last.offset, last.data[: rng.randrange(len(last.data))])
    return _applied(file.durable, pending)


def _applied(data: bytes | None, ops: list[Op]) -> bytes | None:
    held = bytearray(data or b"")
    gone = data is None
    for op in ops:
        if op.kind == "delete":
            held, gone = bytearray(), True
        elif op.kind == "truncate":
            del held[op.offset :]
        else:
            gone = False
            held.extend(bytes(max(0, op.offset - len(held))))
            held[op.offset : op.offset + len(op.data)] = op.data
    return None if gone else bytes(held)


def recovered(state: State, folder: Path) -> dict[str, Envelope]:
    """What the next process finds: the intact rows of the file, by event id."""
    for path in folder.iterdir():
        path.unlink()
    main = folder / "ob-0-0-0.db"
    main.touch()
    for name, data in state.files.items():
        suffix = Path(name).name.partition(".db")[2]
        Path(f"{main}{suffix}").write_bytes(data)
    table = RowTable(main, salvage=True)
    try:
        if table.version != SCHEMA_VERSION:
            return {}
        salvage = Salvage(table, Sealing())
        rows = [entry.checked() for entry in salvage.entries(salvage.intact())]
        return {row.event_id: decode(row) for row in rows}
    finally:
        table.close()


def scratch(near: Path) -> Path:
    """A folder for the states: in memory, if the machine has such a place, since nothing of it has to last."""
    shm = Path("/dev/shm")
    folder = (shm if shm.is_dir() and os.access(shm, os.W_OK) else near) / f"power-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return folder

"""`synap status`: what this machine holds. Looks at copies, so that no process at work notices.

How many turns a process has captured and delivered only that process knows (``synap_integrations.status()``); what
waits, and what was refused for good, is on disk for everybody of this user to see.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from synap_integrations.outbox.ledger import DEAD, Ledger
from synap_integrations.outbox.places import candidates, outbox_files
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import FILE_NAME
from synap_integrations.server.engine import Engine
from synap_integrations.settings import Settings

_ATTEMPTS: Final = 5


@dataclass(slots=True)
class OutboxFolder:
    """What waits for one platform. ``oldest`` is when the first of it was captured, as an ISO time."""

    folder: str
    files: int = 0
    in_use: int = 0
    waiting: int = 0
    dead_letters: int = 0
    oldest: str | None = None
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """The embedded Synap's file; sizes in bytes."""

    file: str
    size: int
    turns: int
    conversations: int
    users: int


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """All of it."""

    platform: str
    capture: bool
    root: str
    outboxes: list[OutboxFolder]
    embedded: EmbeddedStore | None


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(*, as_json: bool) -> None:
    """Show what this machine holds: what waits for delivery, what the embedded Synap remembers."""
    settings = Settings.read()
    status = MachineStatus(
        platform="embedded" if settings.embedded else settings.rest_url,
        capture=Settings.capturing(),
        root=str(settings.root),
        outboxes=outboxes(settings.root),
        embedded=_embedded(settings.root / FILE_NAME),
    )
    text = json.dumps(dataclasses.asdict(status), indent=2) if as_json else _page(status)
    sys.stdout.write(f"{text}\n")


def outboxes(root: Path) -> list[OutboxFolder]:
    """What waits on this machine, by folder."""
    return [_outbox(folder) for folder in _outbox_folders(root)]


def _outbox_folders(root: Path) -> Iterator[Path]:
    """Every folder that holds outbox files: below the storage path, and where they go when that cannot be written."""
    for place in dict.fromkeys(candidate.parent for candidate in candidates(root / "any")):
        with suppress(OSError):
            yield from sorted({path.parent for path in place.glob("*/ob-*.db")})


def _outbox(folder: Path) -> OutboxFolder:
    found = OutboxFolder(str(folder))
    oldest: list[int] = []
    for path in outbox_files(folder):
        found.files += 1
        found.in_use += _is_in_use(path)
        try:
            with _copied(path) as copy, closing(Ledger(copy)) as ledger:
                for entry in ledger.entries():
                    if entry.state == DEAD:
                        found.dead_letters += 1
                    else:
                        found.waiting += 1
                        oldest.append(entry.row.captured_at)
        except (OSError, sqlite3.Error):
            found.unreadable.append(path.name)
    if oldest:
        found.oldest = datetime.fromtimestamp(min(oldest) / 1e6, UTC).isoformat(timespec="seconds")
    return found


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A copy of the outbox file and its log, because the file itself admits its owner only.

    The log only grows while the file beside it stays the same, so the two belong together if that did not change.
    Raises: OSError, if they cannot be read, or do not hold still.
    """
    with tempfile.TemporaryDirectory(prefix="synap-status-") as folder:
        copy = Path(folder) / "copy.db"
        for _ in range(_ATTEMPTS):
            before = path.stat().st_mtime_ns
            shutil.copyfile(path, copy)
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            if path.stat().st_mtime_ns == before:
                yield copy
                return
        message = f"{path} is being written all the time"
        raise OSError(message)


def _embedded(path: Path) -> EmbeddedStore | None:
    """What the embedded Synap remembers; None if there is no file yet, or none that this version can read."""
    if not path.exists():
        return None
    with closing(Database(path)) as database, suppress(sqlite3.Error):
        counts = Engine(database).stats()
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        return EmbeddedStore(str(path), size, counts["turns"], counts["conversations"], counts["users"])
    return None


def _is_in_use(path: Path) -> bool:
    """True if a process holds the file's lock."""
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _page(status: MachineStatus) -> str:
    home = str(Path.home())
    lines = [f"platform  {status.platform}", f"capture   {'on' if status.capture else 'off (SYNAP_CAPTURE)'}", ""]
    for box in status.outboxes:
        since = f", the oldest since {box.oldest}" if box.oldest else ""
        lines.append(f"outbox    {box.folder.replace(home, '~', 1)}")
        lines.append(f"          {box.waiting} turns and tool events wait{since}; {box.dead_letters} dead letters")
        lines.append(f"          {box.files} files, {box.in_use} of them in use by a process")
        lines += [f"          {name} cannot be read" for name in box.unreadable]
    if not status.outboxes:
        lines.append("outbox    nothing waits")
    if status.embedded:
        store = status.embedded
        lines.append(f"embedded  {store.file.replace(home, '~', 1)}, {store.size / 1e6:.1f} MB")
        lines.append(f"          {store.turns} turns in {store.conversations} conversations of {store.users} users")
    else:
        lines.append(f"embedded  nothing stored yet in {status.root.replace(home, '~', 1)}")
    lines += ["", "What a process has captured and delivered, it tells itself: print(synap_integrations.status())"]
    return "\n".join(lines)

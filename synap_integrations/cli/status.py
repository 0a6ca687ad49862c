"""`synap status`: what this machine holds. Looks at copies, so that no process at work notices.

How many turns a process has captured and delivered only that process knows (``synap_integrations.status()``); what
waits, and what was refused for good, is on disk for everybody of this user to see.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from synap_integrations.outbox.filesystems import filesystem_of
from synap_integrations.outbox.inspect_files import OutboxFolder, outboxes
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import FILE_NAME
from synap_integrations.server.engine import Engine
from synap_integrations.settings import Settings

from .checks.storage import unwritable
from .terminal import counted

_EPILOG = """\b
Examples:
  synap status
  synap status --json | jq '[.outboxes[].waiting] | add'"""


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
    storage: str
    """The kind of file system that the root is on."""
    unwritable: str
    """Why nothing can be kept there; empty if it can."""
    outboxes: list[OutboxFolder]
    embedded: EmbeddedStore | None


@click.command("status", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(*, as_json: bool) -> None:
    """Show what this machine holds: what waits for delivery, what the embedded Synap remembers."""
    settings = Settings.read()
    status = MachineStatus(
        platform="embedded" if settings.embedded else settings.rest_url,
        capture=Settings.capturing(),
        root=str(settings.root),
        storage=str(filesystem_of(settings.root)),
        unwritable=unwritable(settings),
        outboxes=outboxes(settings.root, Sealing.of(settings)),
        embedded=_embedded(settings.root / FILE_NAME),
    )
    text = json.dumps(dataclasses.asdict(status), indent=2) if as_json else _page(status)
    sys.stdout.write(f"{text}\n")


def _embedded(path: Path) -> EmbeddedStore | None:
    """What the embedded Synap remembers; None if there is no file yet, or none that this version can read."""
    if not path.exists():
        return None
    with closing(Database(path)) as database, suppress(sqlite3.Error):
        counts = Engine(database).stats()
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        return EmbeddedStore(str(path), size, counts["turns"], counts["conversations"], counts["users"])
    return None


def _waits(number: int) -> str:
    return "1 turn or tool event waits" if number == 1 else f"{number} turns and tool events wait"


def _page(status: MachineStatus) -> str:
    home = str(Path.home())
    lines = [f"platform  {status.platform}", f"capture   {'on' if status.capture else 'off (SYNAP_CAPTURE)'}", ""]
    for box in status.outboxes:
        since = f", the oldest since {box.oldest}" if box.oldest else ""
        lines.append(f"outbox    {box.folder.replace(home, '~', 1)}{'  (fallback)' if box.fallback else ''}")
        lines.append(f"          {_waits(box.waiting)}{since}; {counted(box.dead_letters, 'dead letter')}")
        lines.append(f"          {counted(box.files, 'file')}, {box.in_use} of them in use by a process")
        if box.locked:
            are = "is" if box.locked == 1 else "are"
            lines.append(f"          {box.locked} of them {are} sealed with a key that SYNAP_OUTBOX_KEY does not name")
        lines += [f"          {name} cannot be read" for name in box.unreadable]
    if fix := filesystem_of(Path(status.root)).fix:
        lines += [f"storage   {status.storage}", f"          → {fix}"]
    if status.unwritable:
        lines.append(f"storage   {status.root.replace(home, '~', 1)} cannot be written: {status.unwritable}")
        lines.append("          → synap doctor  (says where things are kept instead)")
    if not status.outboxes:
        lines.append("outbox    nothing waits")
    if status.embedded:
        store = status.embedded
        stored = (
            f"{counted(store.turns, 'turn')} in {counted(store.conversations, 'conversation')} "
            f"of {counted(store.users, 'user')}"
        )
        lines.append(f"embedded  {store.file.replace(home, '~', 1)}, {store.size / 1e6:.1f} MB")
        lines.append(f"          {stored}")
    else:
        lines.append(f"embedded  nothing stored yet in {status.root.replace(home, '~', 1)}")
    lines += ["", "What a process has captured and delivered, it tells itself: print(synap_integrations.status())"]
    return "\n".join(lines)

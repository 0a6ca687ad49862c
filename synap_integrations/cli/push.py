"""`synap push`: move what the embedded Synap holds to the cloud or to another server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Settings

from .stored import AS_JSON, opened
from .terminal import Cell, Paper, counted, print_json

if TYPE_CHECKING:
    from synap_integrations.server.inspector.queries import Reading

    from .replay import Replayed

_EPILOG: Final = """\b
Examples:
  SYNAP_API_KEY=… synap push --to cloud --dry-run
  SYNAP_API_KEY=… synap push --to cloud
  SYNAP_API_KEY=… synap push --to http://127.0.0.1:8787 --db ~/.synap/integrations/v1/local.db"""
_LABELS: Final = ("turns", "events", "documents")
_MOST_REASONS: Final = 5


@click.command("push", epilog=_EPILOG)
@click.option("--to", "to", metavar="URL", help="`cloud`, or the address of a server. [default: as in the settings]")
@click.option(
    "--db", type=click.Path(path_type=Path), metavar="FILE", help="What to push. [default: the embedded Synap's file]"
)
@click.option("--dry-run", is_flag=True, help="Say what would be pushed, and push nothing.")
@AS_JSON
def command(*, to: str | None, db: Path | None, dry_run: bool, as_json: bool) -> int:
    """Push turns, tool calls, reasoning and documents of the embedded Synap to the cloud or another server.

    The key comes from SYNAP_API_KEY. Everything keeps its id and its time, and the file stays as it is. A push that
    was interrupted goes on when it is started again; a second one sends only what is new. Exit code 1: the platform
    refused something for good, and the output says what.
    """
    from synap_integrations.server.inspector.queries import Reading  # noqa: PLC0415 - not for --help

    settings = Settings.read(base_url=to)
    if settings.embedded:
        message = "there is nowhere to push to: pass --to cloud or --to URL, and set SYNAP_API_KEY"
        raise InvalidInputError(message)
    from synap_integrations.server.embedded import FILE_NAME  # noqa: PLC0415 - not for --help

    path = (db or settings.root / FILE_NAME).expanduser().absolute()
    notes = settings.root / "pushed" / _name(path, settings)
    with opened(path) as database:
        if dry_run:
            _say_plan(_plan(Reading(database), notes), settings, as_json=as_json)
            return 0
        return _say_result(_push(Reading(database), notes, settings), settings, as_json=as_json)


def _name(path: Path, settings: Settings) -> str:
    """The file that notes what went from here to there; another key may be another account."""
    key = settings.api_key.fingerprint() if settings.api_key else ""
    told = json.dumps([str(path), settings.rest_url, key])
    return blake2b(told.encode(), digest_size=8).hexdigest()


def _plan(reading: Reading, notes: Path) -> dict[str, int]:
    from synap_integrations.server.records import Turn  # noqa: PLC0415 - not for --help

    from .replay import Document, Notes, conversations, key_of  # noqa: PLC0415 - not for --help

    counts = dict.fromkeys((*_LABELS, "conversations", "before"), 0)
    with Notes(notes) as noted:
        for owner, held in conversations(reading):
            counts["conversations"] += 1
            for what in held:
                kind = "turns" if isinstance(what, Turn) else "documents" if isinstance(what, Document) else "events"
                counts["before" if key_of(what, owner) in noted else kind] += 1
    return counts


def _push(reading: Reading, path: Path, settings: Settings) -> Replayed:
    from synap_integrations.client import SynapClient  # noqa: PLC0415 - not for --help

    from .replay import Notes, conversations, replaying  # noqa: PLC0415 - not for --help

    async def push(told: Callable[[], None]) -> Replayed:
        async with replaying(SynapClient(settings=settings), notes, told) as replay:
            await replay.run(conversations(reading))
            return replay.done

    # Counted before, so that the bar knows where it ends.
    length = sum(len(held) for _, held in conversations(reading))
    shown = sys.stderr if sys.stderr.isatty() else StringIO()
    with Notes(path) as notes, click.progressbar(length=length, label="pushing", file=shown) as bar:
        return asyncio.run(push(lambda: bar.update(1)))


def _say_plan(counts: dict[str, int], settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print_json({"to": settings.rest_url, **counts})
        return
    parts = ", ".join(counted(counts[label], label.removesuffix("s")) for label in _LABELS)
    Paper().line(f"would push {parts} of {counted(counts['conversations'], 'conversation')} to {settings.rest_url}")
    if counts["before"]:
        Paper().line(f"{counts['before']} of them are there already")


def _say_result(done: Replayed, settings: Settings, *, as_json: bool) -> int:
    if as_json:
        counts = {label: getattr(done, label) for label in (*_LABELS, "before")}
        print_json({"to": settings.rest_url, **counts, "refused": list(done.refused.values())})
        return 1 if done.refused else 0
    parts = ", ".join(counted(getattr(done, label), label.removesuffix("s")) for label in _LABELS)
    Paper().line(f"pushed {parts} to {settings.rest_url}; {done.before} were there already")
    for reason in list(done.refused.values())[:_MOST_REASONS]:
        Paper().line(Cell(f"refused: {reason}", "bad"))
    if len(done.refused) > _MOST_REASONS:
        Paper().line(Cell(f"and {len(done.refused) - _MOST_REASONS} more were refused", "bad"))
    return 1 if done.refused else 0

"""`synap outbox`: what waits for delivery on this machine, and what was refused."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from synap_integrations.errors import ContextNotFoundError
from synap_integrations.settings import Settings

from .stored import AS_JSON, CONVERSATION, USER
from .terminal import Cell, Paper, agreed, at_home, counted, in_short, kind_in_words, print_json

if TYPE_CHECKING:
    from synap_integrations.outbox.inspect_files import StoredRow
    from synap_integrations.outbox.operations import Changes

_EPILOG = """\b
Examples:
  synap outbox ls --dead
  synap outbox flush
  synap outbox retry --user ana
  synap outbox export > waiting.jsonl
  synap outbox drop --dead --yes"""
_LS: Final = """\b
Examples:
  synap outbox ls
  synap outbox ls --dead --user ana
  synap outbox ls --json | jq -r .reason"""
_FLUSH: Final = """\b
Examples:
  synap outbox flush
  synap outbox flush --timeout 120 --json"""
_RETRY: Final = """\b
Examples:
  synap outbox retry
  synap outbox retry --user ana
  synap outbox retry 01a1ffe46d06"""
_EXPORT: Final = """\b
Examples:
  synap outbox export > waiting.jsonl
  synap outbox export --dead | jq -r .reason"""
_DROP: Final = """\b
Examples:
  synap outbox drop --dead --yes
  synap outbox drop 01a1ffe46d06
  synap outbox drop --waiting --user ana"""
_FALLBACK: Final = "fallback: the storage path could not be written"
_IDS: Final = click.argument("ids", nargs=-1, metavar="[EVENT_ID]...")
_TIMEOUT: Final = click.option(
    "--timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, metavar="S", help="Longest wait, seconds."
)
_YES: Final = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group("outbox", epilog=_EPILOG)
def command() -> None:
    """Look after what waits for delivery: turns and tool events that no platform has yet.

    A dead letter is one that the platform refused for good; it is kept for you to look at. One that is held may have
    arrived (SYNAP_ON_UNKNOWN=hold): `retry` sends it all the same. Files of running processes can be read, but only
    those processes deliver or change them. What could not be kept below SYNAP_STORAGE_PATH is found as well.
    """


@command.command("ls", short_help="List what waits, and the dead letters.", epilog=_LS)
@click.option("--dead", is_flag=True, help="Dead letters only.")
@click.option("--waiting", is_flag=True, help="Only what waits.")
@USER
@CONVERSATION
@click.option("-n", "number", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@AS_JSON
def ls(  # noqa: PLR0913 - the options
    *, dead: bool, waiting: bool, user: str | None, conversation: str | None, number: int, as_json: bool
) -> None:
    """List what waits and the dead letters, in the order in which they were captured."""
    rows, unreadable = _rows(user=user, conversation=conversation)
    rows = [row for row in rows if not (dead and not row.dead) and not (waiting and row.dead)]
    if as_json:
        print_json([_fields(row) for row in rows], lines=True)
        return
    if not rows:
        Paper().line(Cell("Nothing waits, and nothing was refused.", "good"))
    paper, place = Paper((16, 12, 7)), ""
    for row in rows[:number]:
        if (folder := at_home(row.path.parent)) != place:
            place = folder
            Paper().title(f"{folder}  ({_FALLBACK})" if row.fallback else folder)
        paper.line(*_cells(row))
    if len(rows) > number:
        Paper().line(Cell(f"… and {len(rows) - number} more (-n)", "dim"))
    for path in unreadable:
        Paper().line(Cell(f"{at_home(path)} cannot be read", "bad"))


@command.command("flush", short_help="Deliver now what was left behind.", epilog=_FLUSH)
@_TIMEOUT
@AS_JSON
def flush(*, timeout: float, as_json: bool) -> int:
    """Deliver now what earlier processes left behind, to the platform that the settings name.

    Exit code 1: something is left: the platform cannot be reached, or a running process still has it.
    """
    return _delivered(timeout, as_json=as_json)


@command.command("retry", short_help="Give dead letters another chance.", epilog=_RETRY)
@_IDS
@USER
@CONVERSATION
@_TIMEOUT
@AS_JSON
def retry(ids: tuple[str, ...], user: str | None, conversation: str | None, timeout: float, *, as_json: bool) -> int:
    """Give dead letters another chance: all of them, or those that are named, and deliver them.

    Exit code 1: some were refused again, are still waiting, or belong to a running process.
    """
    from synap_integrations.outbox import operations  # noqa: PLC0415 - not for --help

    rows = [row for row in _chosen(ids, user=user, conversation=conversation) if row.dead]
    changes = operations.retry(rows)
    if not as_json:
        Paper().line(f"{changes.rows} of {counted(len(rows), 'dead letter')} wait again.")
    _say_what_was_not_reached(changes)
    return max(_delivered(timeout, as_json=as_json), int(changes.rows < len(rows)))


@command.command("export", short_help="Write what waits as JSON lines.", epilog=_EXPORT)
@click.option("--dead", is_flag=True, help="Dead letters only.")
@USER
@CONVERSATION
def export(*, dead: bool, user: str | None, conversation: str | None) -> None:
    """Write everything that waits, and the dead letters, as JSON lines, in full."""
    rows, unreadable = _rows(user=user, conversation=conversation)
    print_json([_fields(row) for row in rows if row.dead or not dead], lines=True)
    for path in unreadable:
        sys.stderr.write(f"synap outbox export: {path} cannot be read\n")


@command.command("drop", short_help="Delete dead letters or what waits.", epilog=_DROP)
@_IDS
@click.option("--dead", is_flag=True, help="All dead letters.")
@click.option("--waiting", is_flag=True, help="All that waits.")
@USER
@CONVERSATION
@_YES
def drop(  # noqa: PLR0913 - the options
    ids: tuple[str, ...], *, dead: bool, waiting: bool, user: str | None, conversation: str | None, yes: bool
) -> int:
    """Delete dead letters, or what waits, for good. Asks first.

    Without ids, --dead or --waiting says what is meant. Exit code 1: not everything was dropped.
    """
    from synap_integrations.outbox import operations  # noqa: PLC0415 - not for --help

    if not (ids or dead or waiting):
        message = "say what to drop: ids, --dead or --waiting"
        raise click.UsageError(message)
    rows = _chosen(ids, user=user, conversation=conversation)
    rows = [row for row in rows if (dead and row.dead) or (waiting and not row.dead) or not (dead or waiting)]
    if not rows:
        Paper().line("There is nothing to drop.")
        return 0
    lost = sum(not row.dead for row in rows)
    question = f"Drop {counted(len(rows) - lost, 'dead letter')} and {lost} that were never delivered, for good?"
    if not agreed(question, yes=yes):
        return 1
    changes = operations.drop(rows)
    Paper().line(Cell(f"{changes.rows} of {len(rows)} dropped.", "good" if changes.rows == len(rows) else "bad"))
    _say_what_was_not_reached(changes)
    return int(changes.rows < len(rows))


# --- parts -------------------------------------------------------------------------------------------------------


def _rows(*, user: str | None, conversation: str | None) -> tuple[list[StoredRow], list[Path]]:
    from synap_integrations.outbox import operations  # noqa: PLC0415 - not for --help
    from synap_integrations.outbox.sealing import Sealing  # noqa: PLC0415 - not for --help

    settings = Settings.read()
    rows, unreadable = operations.all_stored_rows(settings.root, Sealing.of(settings))
    if (user or conversation) and (locked := sum(row.locked for row in rows)):
        sys.stderr.write(f"not looked at: {locked} are sealed with a key that SYNAP_OUTBOX_KEY does not name\n")
    return [
        row for row in rows if user in (None, row.user_id) and conversation in (None, row.conversation_id)
    ], unreadable


def _chosen(ids: Sequence[str], *, user: str | None, conversation: str | None) -> list[StoredRow]:
    """The rows whose ids are these, or end so; all, if none is named. Raises: ContextNotFoundError."""
    rows, _ = _rows(user=user, conversation=conversation)
    if not ids:
        return rows
    known = [row.entry.row.event_id for row in rows]
    for wanted in ids:
        if not any(event_id.endswith(wanted) for event_id in known):
            message = f"nothing in the outboxes has the id {wanted}: see `synap outbox ls`"
            raise ContextNotFoundError(message)
    return [row for row, event_id in zip(rows, known, strict=True) if event_id.endswith(tuple(ids))]


def _fields(row: StoredRow) -> dict[str, object]:
    entry = row.entry
    return {
        "event_id": entry.row.event_id,
        "state": _state(row),
        "kind": entry.row.kind,
        "captured_at": row.captured_at.isoformat(),
        "user_id": row.user_id,
        "customer_id": row.customer_id,
        "conversation_id": row.conversation_id,
        "attempts": entry.attempts,
        "reason": entry.reason,
        "intact": entry.intact,
        "locked": row.locked,
        "event": row.body,
        "file": str(row.path),
        "fallback": row.fallback,
    }


def _state(row: StoredRow) -> str:
    return "held" if row.in_doubt else "dead" if row.dead else "waiting"


def _cells(row: StoredRow) -> list[Cell]:
    entry = row.entry
    state = Cell(_state(row), "bad" if row.dead else "warning" if entry.attempts else "")
    what = in_short(row.text, 60)
    why = f"\n{in_short(entry.reason, 200)}" if entry.reason else ""
    tries = f", tried {counted(entry.attempts, 'time')}" if entry.attempts else ""
    whose = "" if row.locked else f" of {row.user_id} in {row.conversation_id}"
    about = f"{kind_in_words(entry.row.kind)}{whose}{tries}\n{what}{why}"
    # Ids begin with the time: it is their ends that differ.
    return [
        Cell(f"{row.captured_at.astimezone():%Y-%m-%d %H:%M}", "dim"),
        Cell(entry.row.event_id[-12:]),
        state,
        Cell(about),
    ]


def _say_what_was_not_reached(changes: Changes) -> None:
    from synap_integrations.outbox.inspect_files import user_of  # noqa: PLC0415 - not for --help

    for path in changes.in_use:
        process = user_of(path)
        sys.stderr.write(f"not reached: {at_home(path)} is in use by process {process}; end it and try again\n")
    for path in changes.unreadable:
        sys.stderr.write(f"not reached: {at_home(path)} cannot be changed\n")


def _delivered(timeout_s: float, *, as_json: bool) -> int:
    """Deliver what waits for the platform of the settings; 0 if nothing is left there."""
    from synap_integrations.runtime import Synap  # noqa: PLC0415 - not for --help
    from synap_integrations.runtime.beginnings import owner_of  # noqa: PLC0415 - see above

    from .checks.storage import delivered_by  # noqa: PLC0415 - see above

    synap = Synap()
    try:
        synap.flush(timeout_s)
        status = synap.status()
    finally:
        synap.close(1.0)
    left = [row for row in _rows(user=None, conversation=None)[0] if not row.dead]
    present = owner_of(synap.settings)
    elsewhere = Counter(row.path.parent.name for row in left if row.path.parent.name != present)
    if as_json:
        said = {"delivered": status.delivered, "refused_for_good": status.dead_letters, "waiting": len(left)}
        print_json(said | {"of_other_settings": dict(elsewhere)})
    else:
        Paper().line(f"{status.delivered} delivered to {status.platform}.")
        if status.dead_letters:
            Paper().line(Cell(f"{status.dead_letters} are dead letters: see `synap outbox ls --dead`.", "bad"))
        if left:
            held = f" ({status.state})" if status.state.startswith("held") else ""
            if any(row.locked for row in left):
                held = " (sealed with a key that SYNAP_OUTBOX_KEY does not name)"
            Paper().line(Cell(f"{len(left)} still wait{held}.", "warning"))
        for folder, rows in Counter(at_home(row.path.parent) for row in left if row.fallback).items():
            Paper().line(Cell(f"{rows} of them in {folder} ({_FALLBACK}).", "warning"))
        for folder, rows in elsewhere.items():
            Paper().line(Cell(f"{rows} of them in {folder}, under other settings than these.", "warning"))
            Paper().line(Cell(f"→ {delivered_by(folder, present=present)}", "command"))
    return int(bool(left or status.dead_letters))

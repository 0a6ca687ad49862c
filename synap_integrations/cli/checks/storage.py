"""What this machine keeps: what waits and why, what is remembered, and for whom."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from synap_integrations.cli.terminal import counted, kind_in_words
from synap_integrations.errors import InvalidInputError
from synap_integrations.outbox.files import places
from synap_integrations.outbox.filesystems import filesystem_of
from synap_integrations.outbox.inspect_files import OutboxFolder, damaged_files, outboxes
from synap_integrations.outbox.operations import all_stored_rows
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.runtime.beginnings import owner_of
from synap_integrations.runtime.runs import FILE_NAME as RUNS
from synap_integrations.runtime.runs import last_runs
from synap_integrations.scoping import ANONYMOUS
from synap_integrations.server.embedded import FILE_NAME, IN_MEMORY
from synap_integrations.server.inspector.file import ReadOnlyDatabase
from synap_integrations.server.inspector.queries import Reading
from synap_integrations.settings import Settings

from .findings import Finding, Level

if TYPE_CHECKING:
    from synap_integrations.server.inspector.views import Chat, Person

_LAST: Final = 20
_PEOPLE: Final = 2_000
_ERRORS: Final = 3
_IDENTIFY: Final = "synap run --identify …, or user_id in your metadata"
_SOURCES: Final = {
    "context": "with context(…)",
    "run": "the framework or an argument",
    "identify": "--identify",
    "environment": "SYNAP_USER_ID",
    "nobody": "nobody",
}


def storage_findings(settings: Settings) -> Iterator[Finding]:
    """Whether anything can be kept, and whether that outlives the container, or lies on a network."""
    if why := unwritable(settings):
        says = f"{settings.root} cannot be written ({why}): turns wait in {_where_instead(settings)}"
        memory = ", and what the embedded Synap remembers is lost with its process" if settings.embedded else ""
        yield Finding("storage", "problem", f"{says}{memory}", "export SYNAP_STORAGE_PATH=…  (a folder to write in)")
        return
    found = filesystem_of(settings.root)
    if found.fix:
        level: Level = "warning" if found.kind == "network" else "note"
        yield Finding("storage", level, f"{settings.root} is on {found}", found.fix)


def unwritable(settings: Settings) -> str:
    """Why nothing can be kept in the folder of the settings; empty if it can. A file is made there, or in the nearest
    folder above that is there already, and removed.
    """
    if settings.storage_path == IN_MEMORY:
        return ""
    try:
        place = next(place for place in (settings.root, *settings.root.parents) if place.exists())
        with TemporaryFile(dir=place) as file:
            file.write(b"synap doctor")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _where_instead(settings: Settings) -> str:
    return f"{places(settings.root)[1]} instead"


def outbox_findings(settings: Settings) -> Iterator[Finding]:
    """What waits for delivery, and the last reasons why."""
    sealing = Sealing.of(settings)
    boxes = outboxes(settings.root, sealing)
    if not any(box.waiting + box.dead_letters + len(box.unreadable) for box in boxes):
        yield Finding("outbox", "fine", "nothing waits, and nothing was refused")
    for box in boxes:
        yield from _of_one(box, present=owner_of(settings))
    rows, _ = all_stored_rows(settings.root, sealing)
    errors = sorted((row for row in rows if row.entry.reason), key=lambda row: row.captured_at)[-_ERRORS:]
    for row in errors:
        says = f"{row.captured_at:%Y-%m-%d %H:%M} {kind_in_words(row.entry.row.kind)}: {row.entry.reason}"
        yield Finding("last error", "note", says, "" if row.dead else "synap outbox flush")
    for path in damaged_files(settings.root):
        yield Finding(
            "outbox", "warning", f"{path} was damaged and put aside", f"rm {path}  (when you have looked at it)"
        )


def delivered_by(folder: str, *, present: str) -> str:
    """The command that delivers what waits in this outbox folder; ``present`` is that of the settings as they are."""
    if folder == present:
        return "synap outbox flush"
    if folder.startswith("local-"):
        return "SYNAP_BASE_URL=local synap outbox flush"
    move = f", or if both keys are of one account: synap reassign {folder} {present}"
    reassign = "" if present.startswith("local-") else move
    return f"export SYNAP_API_KEY=…  (as it was, and then synap outbox flush{reassign})"


def _of_one(box: OutboxFolder, *, present: str) -> Iterator[Finding]:
    name = Path(box.folder).name
    where = f"{box.folder} (fallback: the storage path could not be written)" if box.fallback else name
    fix = delivered_by(name, present=present)
    if box.waiting:
        says = f"{box.waiting} wait in {where}, the oldest since {box.oldest}"
        if box.in_use:
            yield Finding("outbox", "note", f"{says}; {counted(box.in_use, 'running process')} at work on them")
        elif name != present:
            yield Finding("outbox", "warning", f"{says}, under other settings than these", fix)
        else:
            yield Finding("outbox", "warning", f"{says}; no running process delivers them", fix)
    if box.dead_letters:
        says = f"{counted(box.dead_letters, 'dead letter')} in {where}: refused for good"
        yield Finding("outbox", "warning", says, "synap outbox ls --dead")
    if box.locked:
        says = f"{box.locked} in {where} are sealed with a key that SYNAP_OUTBOX_KEY does not name: kept, and not sent"
        yield Finding("outbox", "warning", says, "export SYNAP_OUTBOX_KEY=<the present key>,<that key>")
    for file in box.unreadable:
        yield Finding("outbox", "warning", f"{box.folder}/{file} cannot be read", "synap outbox ls")


def memory_findings(settings: Settings) -> Iterator[Finding]:
    """What the embedded Synap remembers, whether its file is sound, and whose the last conversations are."""
    path = settings.root / FILE_NAME
    if not path.exists():
        if settings.embedded:
            yield Finding("memory", "note", f"nothing was recorded in {settings.root} yet", "synap demo")
        return
    try:
        with closing(ReadOnlyDatabase(path)) as database:
            database.open()
            with database.read() as db:
                (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
            reading = Reading(database)
            chats, people = reading.chats(limit=_LAST), reading.people(limit=_PEOPLE)
    except (InvalidInputError, sqlite3.Error) as error:
        yield Finding("memory", "problem", str(error), f"synap dev --db {path}  (brings an older file up)")
        return
    turns = sum(person.turns for person in people)
    says = f"{path}: {counted(turns, 'turn')} of {counted(len(people), 'user')}"
    if sound == "ok":
        yield Finding("memory", "fine", says)
    else:
        yield Finding(
            "memory", "problem", f"{path} is damaged: {sound}", f"synap export --db {path} --output saved.jsonl"
        )
    yield from _identity(chats)
    yield from _alike(people)


def run_findings(settings: Settings) -> Iterator[Finding]:
    """Who named the user of the last turns: the code, the framework, a function, the environment, or nobody."""
    runs = last_runs(settings.root / RUNS, _LAST)
    if not runs:
        return
    sources = Counter(run.user_from for run in runs)
    says = ", ".join(f"{_SOURCES.get(source, source)} {count}" for source, count in sources.most_common())
    details = {
        "runs": [
            {
                "at": datetime.fromtimestamp(run.at, UTC).isoformat(timespec="seconds"),
                "process": run.pid,
                "conversation": run.conversation,
                "user_from": run.user_from,
                "conversation_from": run.conversation_from,
            }
            for run in runs
        ]
    }
    if nobody := sources["nobody"]:
        says = f"of the last {counted(len(runs), 'turn')}, {nobody} without a user: {says}"
        yield Finding("runs", "warning", says, _IDENTIFY, details)
    else:
        yield Finding(
            "runs", "fine", f"who named the users of the last {counted(len(runs), 'turn')}: {says}", "", details
        )


def _identity(chats: list[Chat]) -> Iterator[Finding]:
    """Conversations whose user nobody named are remembered each for itself."""
    if not chats:
        return
    nobody = [chat for chat in chats if chat.owner.user_id.startswith(ANONYMOUS)]
    details = {"unattributed": [chat.name for chat in nobody]}
    if not nobody:
        yield Finding("identity", "fine", f"the last {len(chats)} conversations all have a user", "", details)
        return
    named = ", ".join(chat.name for chat in nobody[:3]) + (", …" if len(nobody) > 3 else "")
    says = f"{len(nobody)} of the last {len(chats)} conversations are nobody's, and remembered each for itself: {named}"
    yield Finding("identity", "warning", says, _IDENTIFY, details)


def _alike(people: list[Person]) -> Iterator[Finding]:
    """Ids that differ in nothing a person would notice: probably one person with two memories."""
    by_look: dict[tuple[str, str], list[str]] = defaultdict(list)
    for person in people:
        by_look[person.owner.customer_id, person.owner.user_id.strip().casefold()].append(person.owner.user_id)
    for ids in by_look.values():
        if len(ids) > 1:
            says = f"{' and '.join(map(repr, sorted(ids)))} are different users here: ids are compared byte for byte"
            yield Finding("identity", "warning", says, "pass the same id everywhere")

"""`synap import`: conversations of the past, from a file."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

import click

from synap_integrations import scoping
from synap_integrations.errors import InvalidInputError
from synap_integrations.model import AssistantMessage, Event, Scope, UserMessage
from synap_integrations.settings import Settings
from synap_integrations.transcripts.formats import documents_in, reader_for
from synap_integrations.transcripts.messages import Skipped, completed

from .stored import AS_JSON
from .terminal import Cell, Paper, counted, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from synap_integrations.runtime import Synap
    from synap_integrations.transcripts.messages import Past, Read

_IDS: Final = UUID("5d0b3c52-7d0a-5b39-9d32-0b8a3b5f2a10")
_AT_ONCE: Final = 1_000
_EPILOG: Final = """\b
Examples:
  synap import history.jsonl --user ana
  synap import message_store.json --user ana --conversation c-42
  synap import everything.jsonl --dry-run"""


@dataclass(slots=True)
class Imported:
    """What a file held."""

    format: str
    events: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    conversations: set[str | None] = field(default_factory=set[str | None])
    users: set[tuple[str | None, str | None]] = field(default_factory=set[tuple[str | None, str | None]])
    """Customer and user."""
    undated: int = 0


@click.command("import", epilog=_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--user", metavar="ID", help="Whose conversations these are; wins over what the file says.")
@click.option("--customer", metavar="ID", help="Of which customer (tenant); wins over what the file says.")
@click.option("--conversation", metavar="ID", help="Which conversation this is; wins over what the file says.")
@click.option("--format", "format_", metavar="NAME", help="What FILE is, if it cannot be told: see below.")
@click.option("--dry-run", is_flag=True, help="Read and count, record nothing.")
@click.option(
    "--timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, metavar="S", help="For delivery."
)
@AS_JSON
def command(  # noqa: PLR0913 - the options
    *,
    file: Path,
    user: str | None,
    customer: str | None,
    conversation: str | None,
    format_: str | None,
    dry_run: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Record the conversations of a file, with their dates, as if they had been captured.

    FILE holds JSON, or JSON lines: an export of `synap export` (the format synap), of ChatGPT (chatgpt), Zep (zep),
    LangSmith (langsmith), Langfuse (langfuse) or mem0 (mem0), messages as LangChain dumps them (langchain), or messages
    in the form of OpenAI's API (openai). Who is talking is taken from the names that frameworks use (thread_id,
    user_id, …). The same file again changes nothing. Masks, hidden parts and samples apply as ever.

    Exit code 1: not everything was delivered; what waits goes out at the next start.
    """
    asked = scoping.checked(Scope(conversation, user, customer_id=customer))
    try:
        documents = documents_in(file)
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}): pass a file with JSON or JSON lines"
        raise InvalidInputError(message) from None
    reader = reader_for(documents, name=format_)
    imported = Imported(reader.name)
    events = _identified(_counted(reader.read(documents, name=file.stem), asked, imported))
    if dry_run:
        for _ in events:
            pass
        _report(imported, None, as_json=as_json)
        return 0
    if not Settings.capturing():
        message = "SYNAP_CAPTURE=0 keeps everything from being recorded: unset it"
        raise InvalidInputError(message)
    from synap_integrations.runtime import Synap  # noqa: PLC0415 - not for --help

    synap = Synap()
    try:
        _record(synap, events, timeout)
        status = synap.status()
    finally:
        synap.close(1.0)
    outcome = {"delivered": status.delivered, "waiting": status.waiting, "platform": status.platform}
    lost = {"refused": status.refused, "dead_letters": status.dead_letters}
    _report(imported, outcome | lost, as_json=as_json)
    return int(status.waiting + status.refused + status.dead_letters > 0)


def _record(synap: Synap, events: Iterable[tuple[Past, str]], timeout_s: float) -> None:
    """Hand everything over, and wait for its delivery now and then, so that the outbox stays small."""
    for number, (past, event_id) in enumerate(events, 1):
        synap.record(past.event, scope=past.scope, occurred_at=past.occurred_at, event_id=event_id)
        if number % _AT_ONCE == 0 and not synap.flush(timeout_s):
            sys.stderr.write("The platform does not keep up; the rest waits on disk.\n")
    synap.flush(timeout_s)


def _counted(read: Iterable[Read], asked: Scope, imported: Imported) -> Iterator[Past]:
    for one in read:
        if isinstance(one, Skipped):
            imported.skipped[one.what] += 1
            continue
        past = completed(one, asked)
        imported.events[type(past.event).__name__] += 1
        imported.conversations.add(past.scope.conversation_id)
        imported.users.add((past.scope.customer_id, past.scope.user_id))
        imported.undated += past.occurred_at is None
        yield past


def _identified(events: Iterable[Past]) -> Iterator[tuple[Past, str]]:
    """Each event with an id that it gets again the next time.

    That is its own, or one made of whose it is, its place in the conversation, and a digest of what it is.
    """
    places: Counter[Scope] = Counter()
    for past in events:
        places[past.scope] += 1
        yield past, past.event_id or _event_id(past.scope, past.event, places[past.scope])


def _event_id(scope: Scope, event: Event, place: int) -> str:
    what = blake2b(repr(event).encode("utf-8", "replace"), digest_size=16).hexdigest()
    whose = [scope.customer_id, scope.user_id, scope.conversation_id]
    return str(uuid5(_IDS, json.dumps([*whose, place, what])))


def _report(imported: Imported, outcome: dict[str, object] | None, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "format": imported.format,
                "events": dict(imported.events),
                "skipped": dict(imported.skipped),
                "conversations": len(imported.conversations),
                "users": len(imported.users),
                "undated": imported.undated,
                "outcome": outcome,
            }
        )
        return
    paper = Paper((10,))
    turns = imported.events[UserMessage.__name__] + imported.events[AssistantMessage.__name__]
    others = imported.events.total() - turns
    held = counted(len(imported.conversations), "conversation")
    read = f"{counted(turns, 'turn')} and {counted(others, 'other event')} in {held}"
    paper.line("read", read)
    paper.line("format", imported.format)
    for what, count in imported.skipped.items():
        paper.line(Cell("skipped", "warning"), f"{count} {what}")
    if any(user is None for _, user in imported.users):
        paper.line(Cell("nobody", "warning"), "is named for some of them: pass --user, or each is remembered by itself")
    if imported.undated:
        paper.line(
            Cell("undated", "warning"), f"{imported.undated} without a date: said now, as far as anybody can tell"
        )
    if outcome is None:
        paper.line(Cell("dry run", "dim"), "nothing was recorded")
        return
    paper.line(
        Cell("delivered", "good"),
        f"{outcome['delivered']} to {outcome['platform']}; what was there before is there once",
    )
    for name in ("waiting", "refused", "dead_letters"):
        if outcome[name]:
            paper.line(Cell(name.replace("_", " "), "bad"), f"{outcome[name]}: see `synap outbox ls`")

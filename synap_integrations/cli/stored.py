"""What commands have in common that read the embedded Synap's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Settings

from .terminal import Cell, counted, in_short

if TYPE_CHECKING:
    from synap_integrations.server.inspector.file import ReadOnlyDatabase
    from synap_integrations.server.inspector.following import News
    from synap_integrations.server.inspector.timeline import Entry

DB: Final = click.option(
    "--db", type=click.Path(path_type=Path), metavar="FILE", help="[default: the embedded Synap's file]"
)
USER: Final = click.option("--user", metavar="ID", help="Of this user only.")
CUSTOMER: Final = click.option("--customer", metavar="ID", help="Of users of this customer (tenant) only.")
CONVERSATION: Final = click.option("--conversation", metavar="ID", help="Of this conversation only.")
AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
_TOOL_CHARS: Final = 400


def stored_in(db: Path | None) -> Path:
    """The file that is meant.

    Raises: InvalidInputError, if none is named and turns do not stay on this machine.
    """
    settings = Settings.read()
    if db is None and not settings.embedded:
        message = (
            f"turns go to {settings.rest_url}, and this command reads files: "
            "set SYNAP_BASE_URL=local for the embedded Synap, or pass --db FILE"
        )
        raise InvalidInputError(message)
    from synap_integrations.server.embedded import FILE_NAME  # noqa: PLC0415 - not for --help

    return (db or settings.root / FILE_NAME).expanduser().absolute()


@contextmanager
def opened(path: Path) -> Iterator[ReadOnlyDatabase]:
    """The file, for reading. Raises: InvalidInputError, if it is not there or cannot be read."""
    from synap_integrations.server.inspector.file import ReadOnlyDatabase  # noqa: PLC0415 - not for --help

    with closing(ReadOnlyDatabase(path)) as database:
        database.open()
        yield database


def wanted_by(user: str | None, customer: str | None, conversation: str | None) -> Callable[[News], bool]:
    """What of everything is of these; None is anybody's."""

    def wanted(news: News) -> bool:
        return (
            user in (None, news.owner.user_id)
            and customer in (None, news.owner.customer_id)
            and conversation in (None, news.name, news.conversation_id)
        )

    return wanted


def as_line(news: News) -> dict[str, object]:
    """An entry as JSON lines have it: whose it is, and its fields."""
    from synap_integrations.server.inspector.export import fields  # noqa: PLC0415 - not for --help

    whose = {"user_id": news.owner.user_id, "customer_id": news.owner.customer_id or None}
    return {**whose, "conversation_id": news.name, **fields(news.entry)}


def described(entry: Entry) -> tuple[Cell, Cell]:
    """Who or what it was, and what was said or done."""
    from synap_integrations.server.inspector.timeline import (  # noqa: PLC0415 - not for --help
        Other,
        Pushed,
        Said,
        Shown,
        Thought,
        ToolUse,
    )

    match entry:
        case Said(turn):
            who = turn.role if turn.speaker is None else f"{turn.role} {turn.speaker}"
            return Cell(who, turn.role), Cell(turn.content)
        case ToolUse(call, result):
            parts = [] if call is None else [f"{call.text('tool_name')}({_tool_text(call.body, 'tool_args')})"]
            parts += [] if result is None else [f"→ {_tool_text(result.body, 'tool_result')}"]
            return Cell("tool", "tool"), Cell("\n".join(parts), "tool")
        case Thought(event):
            return Cell("thinking", "dim"), Cell(event.text("content"), "dim")
        case Pushed(push):
            bundle = push.bundle
            because = bundle.pattern.replace("_", " ").replace("user message", "user turn")
            text = f"{counted(len(bundle.item_ids), 'item')}, because of a {because}; {len(bundle.used_item_ids)} shown"
            return Cell("pushed", "pushed"), Cell(text, "dim")
        case Shown(event, reported=reported):
            return Cell("shown", "pushed"), Cell(f"{counted(reported, 'item')} to the model", "dim")
        case Other(event):
            return Cell(event.kind.replace("_", " "), "dim"), Cell("")


def _tool_text(body: Mapping[str, object], name: str) -> str:
    value = body.get(f"{name}_json") or body.get(name) or ""
    return in_short(str(value), _TOOL_CHARS)

"""`synap show`: one conversation, as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synap_integrations.errors import InvalidInputError

from .stored import AS_JSON, CUSTOMER, DB, USER, described, opened, stored_in
from .terminal import Cell, Paper, counted, print_json

if TYPE_CHECKING:
    from synap_integrations.server.inspector.queries import Reading
    from synap_integrations.server.inspector.timeline import Entry
    from synap_integrations.server.inspector.views import Chat

_EPILOG = """\b
Examples:
  synap show c-42
  synap show c-42 --user ana --markdown > c-42.md
  synap show c-42 --json | jq '.entries[] | select(.kind == "turn") | .content'"""


@click.command("show", epilog=_EPILOG)
@click.argument("conversation")
@USER
@CUSTOMER
@click.option("--markdown", is_flag=True, help="Markdown instead of text.")
@AS_JSON
@DB
def command(  # noqa: PLR0913 - the options
    conversation: str, user: str | None, customer: str | None, *, markdown: bool, as_json: bool, db: Path | None
) -> int:
    """Show a conversation: turns, tools, what was pushed and what the model was shown.

    CONVERSATION is the application's name for it, or its id. Reads only, whatever the application does meanwhile.

    Exit code 1: there is no such conversation.
    """
    from synap_integrations.server.inspector.export import as_json as json_of  # noqa: PLC0415 - not for --help
    from synap_integrations.server.inspector.export import as_markdown  # noqa: PLC0415 - see above
    from synap_integrations.server.inspector.queries import Reading  # noqa: PLC0415 - see above
    from synap_integrations.server.inspector.transcript import line  # noqa: PLC0415 - see above

    with opened(stored_in(db)) as database:
        reading = Reading(database)
        chat = _chosen(reading, conversation, user, customer)
        if chat is None:
            return 1
        entries = line(reading, chat, 1, chat.turns)
    if as_json:
        import json  # noqa: PLC0415 - see above

        print_json(json.loads(json_of(chat, entries)))
    elif markdown:
        sys.stdout.write(f"{as_markdown(chat, entries)}\n")
    else:
        _print(chat, entries)
    return 0


def _chosen(reading: Reading, name: str, user: str | None, customer: str | None) -> Chat | None:
    """The conversation that is meant; None, and a word on stderr, if there is none.

    Raises: InvalidInputError, if there are several.
    """
    found = [
        chat
        for chat in reading.called(name)
        if user in (None, chat.owner.user_id) and customer in (None, chat.owner.customer_id)
    ]
    if len(found) > 1:
        owners = ", ".join(_whose(chat) for chat in found[:5])
        message = f"{name} is a conversation of several users ({owners}): pass --user, and --customer where they differ"
        raise InvalidInputError(message)
    if found:
        return found[0]
    asked = f" of {user or customer}" if user or customer else ""
    others = ", ".join(_whose(chat) for chat in reading.called(name)[:3]) if asked else ""
    if others:
        sys.stderr.write(f"synap show: there is no conversation {name}{asked}; there is {name} of {others}\n")
        return None
    alike = ", ".join(chat.name for chat in reading.search(name, limit=3)) or ", ".join(
        chat.name for chat in reading.chats(limit=3)
    )
    hint = f"; there is {alike}" if alike else "; nothing was recorded yet"
    sys.stderr.write(f"synap show: there is no conversation {name}{asked}{hint}\n")
    return None


def _whose(chat: Chat) -> str:
    owner = chat.owner
    return f"{owner.user_id} of {owner.customer_id}" if owner.customer_id else owner.user_id


def _print(chat: Chat, entries: list[Entry]) -> None:
    from synap_integrations.server.inspector.timeline import Said, at  # noqa: PLC0415 - not for --help

    heading = Paper()
    heading.line(Cell(chat.name, "title"))
    heading.line(Cell(f"{_whose(chat)}, {counted(chat.turns, 'turn')}", "dim"))
    paper, day = Paper((5, 9)), ""
    for entry in entries:
        moment = (entry.turn.said_at if isinstance(entry, Said) else at(entry)).astimezone()
        if (date := f"{moment:%A, %d %B %Y}") != day:
            paper.title(date)
            day = date
        who, text = described(entry)
        paper.line(Cell(f"{moment:%H:%M}", "dim"), who, text)

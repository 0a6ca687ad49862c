"""`synap tail`: what happens, while it happens."""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from synap_integrations.errors import InvalidInputError

from .stored import AS_JSON, CONVERSATION, CUSTOMER, DB, USER, as_line, described, opened, stored_in, wanted_by
from .terminal import Cell, Paper, print_json

if TYPE_CHECKING:
    from synap_integrations.server.inspector.following import News

_POLL_S: Final = 0.2
_TRIES: Final = 50
_KINDS: Final = ("user", "assistant", "tool", "thinking", "pushed", "shown")
_EPILOG = """\b
Examples:
  synap tail
  synap tail --user ana --kind user --kind assistant
  synap tail -n 100 --no-follow --json"""


@click.command("tail", epilog=_EPILOG)
@click.option("-n", "number", type=click.IntRange(0), default=10, show_default=True, help="How many to begin with.")
@click.option("--follow/--no-follow", default=True, help="Go on with what comes in. [default: follow]")
@USER
@CUSTOMER
@CONVERSATION
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Of this kind only; may be repeated.")
@AS_JSON
@DB
def command(  # noqa: PLR0913 - the options
    *,
    number: int,
    user: str | None,
    customer: str | None,
    conversation: str | None,
    kinds: tuple[str, ...],
    db: Path | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what happens while it happens: turns, tools, what is pushed and what models are shown.

    Follows the file of the embedded Synap, or of a `synap dev`, without disturbing whoever writes it. With --json, one
    object on each line. Ctrl-C ends it, with exit code 130.
    """
    from synap_integrations.server.inspector.following import Following  # noqa: PLC0415 - not for --help
    from synap_integrations.server.inspector.queries import Reading  # noqa: PLC0415 - see above

    of_them = wanted_by(user, customer, conversation)

    def wanted(news: News) -> bool:
        who, _ = described(news.entry)
        return of_them(news) and (not kinds or who.text.partition(" ")[0] in kinds)

    path = stored_in(db)
    if follow:
        _wait_for(path)
    with opened(path) as database:
        following = Following(Reading(database), wanted)
        printed = _Printed(as_json=as_json)
        try:
            printed.all(following.last(number))
            while follow:
                time.sleep(_POLL_S)
                printed.all(following.news())
        except sqlite3.Error as error:
            message = f"{path} can no longer be read ({error})"
            raise InvalidInputError(message) from None


def _wait_for(path: Path) -> None:
    """Wait until the file is there, and a little longer for whoever makes it to finish."""
    if path.exists():
        return
    sys.stderr.write(f"Nothing was recorded in {path} yet; waiting for it.\n")
    while not path.exists():
        time.sleep(_POLL_S)
    for _ in range(_TRIES):
        with suppress(InvalidInputError), opened(path):
            return
        time.sleep(_POLL_S)


class _Printed:
    """Entries as they are printed; a heading wherever the conversation changes."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._paper = Paper((8, 9))
        self._heading = ""

    def all(self, news: list[News]) -> None:
        for one in news:
            if self._as_json:
                print_json([as_line(one)], lines=True)
            else:
                self._text(one)
        if news:
            sys.stdout.flush()

    def _text(self, news: News) -> None:
        from synap_integrations.server.inspector.timeline import at  # noqa: PLC0415 - not for --help

        of = f" of {news.owner.customer_id}" if news.owner.customer_id else ""
        heading = f"{news.name}  ({news.owner.user_id}{of})"
        if heading != self._heading:
            self._paper.title(heading)
            self._heading = heading
        who, text = described(news.entry)
        self._paper.line(Cell(f"{at(news.entry).astimezone():%H:%M:%S}", "dim"), who, text)

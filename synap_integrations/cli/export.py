"""`synap export`: everything that the embedded Synap remembers, to take away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import click

from synap_integrations.errors import InvalidInputError

from .stored import CONVERSATION, CUSTOMER, DB, USER, as_line, opened, stored_in, wanted_by
from .terminal import at_home, print_json

_EPILOG = """\b
Examples:
  synap export --output everything.jsonl
  synap export --user ana | jq -r 'select(.kind == "turn") | .content'
  synap export | SYNAP_STORAGE_PATH=elsewhere synap import /dev/stdin"""


@click.command("export", epilog=_EPILOG)
@USER
@CUSTOMER
@CONVERSATION
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="A new file. [default: standard output]"
)
@DB
def command(
    *, user: str | None, customer: str | None, conversation: str | None, output: Path | None, db: Path | None
) -> int:
    """Write everything that was said and done as JSON lines, in the order in which it was stored.

    Each line says whose it is and has the fields of `synap show --json`. `synap import` reads it. Reads only, whatever
    the application does meanwhile. What still waits for delivery is not in it: see `synap outbox export`.

    Exit code 1: nothing was found.
    """
    from synap_integrations.server.inspector.following import Following  # noqa: PLC0415 - not for --help
    from synap_integrations.server.inspector.queries import Reading  # noqa: PLC0415 - see above

    wanted, count = wanted_by(user, customer, conversation), 0
    with opened(stored_in(db)) as database, _written_to(output):
        for news in Following(Reading(database), wanted).everything():
            print_json([as_line(news)], lines=True)
            count += 1
    place = f" to {at_home(output)}" if output else ""
    sys.stderr.write(f"{count} entries{place}\n")
    return int(count == 0)


@contextmanager
def _written_to(output: Path | None) -> Iterator[None]:
    """Raises: InvalidInputError, if the file is there already, or cannot be made."""
    if output is None:
        yield
        return
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        message = f"{output} cannot be made ({error.strerror}): name a file that is not there yet"
        raise InvalidInputError(message) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file, redirect_stdout(file):
        yield

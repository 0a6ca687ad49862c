"""`synap reassign`: give turns that wait under one key to another key of the same account."""

from __future__ import annotations

import json
import sys

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.outbox.reassign import reassign
from synap_integrations.settings import Settings

_EPILOG = """\b
Examples:
  synap status
  synap reassign cloud-nokey cloud-1a2b3c4d
  synap reassign cloud-1a2b3c4d cloud-5e6f7a8b --json"""


@click.command("reassign", epilog=_EPILOG)
@click.argument("source")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.pass_context
def command(context: click.Context, /, source: str, target: str, *, as_json: bool) -> None:
    """Move what waits in the outbox folder SOURCE to TARGET: the next process with that key delivers it.

    Folders are named as `synap status` shows them: cloud-nokey, cloud-1a2b3c4d. Do this only if both keys belong to one
    account. Exits with 1 if files stay behind because a living process uses them.
    """
    root = Settings.read().root
    for name in (source, target):
        if name in {"", ".", ".."} or "/" in name:
            message = f"{name!r} is no outbox folder: use a name that `synap status` shows, such as cloud-nokey"
            raise InvalidInputError(message)
    if source == target or not (root / source).is_dir():
        message = f"there is nothing to move: {root / source} is {'both' if source == target else 'not there'}"
        raise InvalidInputError(message)
    try:
        done = reassign(root / source, root / target)
    except OSError as error:
        message = f"a file could not be moved, and stays where it is: {error}"
        raise InvalidInputError(message) from None
    if as_json:
        sys.stdout.write(f"{json.dumps({'moved': done.moved, 'in_use': done.in_use})}\n")
    else:
        stay = f"; {done.in_use} stay with a process that is at work" if done.in_use else ""
        sys.stdout.write(f"moved {done.moved} file{'s' * (done.moved != 1)} from {source} to {target}{stay}\n")
    context.exit(1 if done.in_use else 0)

"""`synap prove-isolation`: does your agent keep its users apart?"""

from __future__ import annotations

import dataclasses
import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.testing.isolation import WORKERS, Ask, IsolationReport, prove_isolation

from .user_objects import made

_MOST_SHOWN = 10
_COULD_NOT = 2
_EPILOG = """\b
Examples:
  synap prove-isolation app.agents:make
  synap prove-isolation app.agents:make --users 50 --workers 4
  synap prove-isolation app.agents:make --json | jq .crossings"""


@click.command("prove-isolation", epilog=_EPILOG)
@click.argument("factory", metavar="MODULE:FACTORY")
@click.option("--users", type=click.IntRange(2), default=200, show_default=True, help="How many users talk to it.")
@click.option("--workers", type=click.IntRange(1), default=WORKERS, show_default=True, help="How many at a time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(factory: str, users: int, workers: int, *, as_json: bool) -> int:
    """Run your agent with many users who each know a secret word, and look for words in wrong places.

    MODULE:FACTORY names a function without arguments that returns your agent as `ask(text, *, user_id,
    conversation_id) -> str`, sync or async. An embedded Synap in a temporary folder stands in for the platform; your
    model is called three times for each user.

    Exit code 0: nothing crossed, and users were reminded of their own words. 1: something crossed, or nobody was ever
    reminded of anything, which proves nothing. 2: it could not be tried.
    """
    ask = made(factory, of="the agent")
    if not callable(ask):
        message = (
            f"the agent {factory}: it returned {type(ask).__name__}, and not ask(text, *, user_id, conversation_id)"
        )
        raise InvalidInputError(message)
    report = _tried(cast("Ask", ask), users=users, workers=workers)
    if report is None:
        return _COULD_NOT
    text = json.dumps(dataclasses.asdict(report) | {"proved": report.proved}, indent=2) if as_json else _page(report)
    sys.stdout.write(f"{text}\n")
    return 0 if report.proved else 1


def _tried(ask: Ask, *, users: int, workers: int) -> IsolationReport | None:
    """The report; None if the agent itself has failed, whose traceback is then shown."""
    with ThreadPoolExecutor(1, thread_name_prefix="isolation-trial") as pool:
        trial = pool.submit(prove_isolation, ask, users=users, workers=workers)
        if (error := trial.exception()) is None:
            return trial.result()
    traceback.print_exception(error)
    sys.stderr.write("synap prove-isolation: your agent failed, see above: nothing was proved, and nothing refuted\n")
    return None


def _page(report: IsolationReport) -> str:
    lines = [
        f"{report.users:>8}  users, each with a word that nobody else knows",
        f"{report.turns:>8}  turns of your agent",
        f"{report.contexts:>8}  recalls for its prompts searched; {report.remembered} users got their own word back",
        f"{report.recorded_turns:>8}  recorded turns searched",
        f"{len(report.crossings):>8}  crossings",
    ]
    lines += [
        f"          {crossing.where}: {crossing.user_id} has the word of {crossing.of_user_id}"
        for crossing in report.crossings[:_MOST_SHOWN]
    ]
    if (more := len(report.crossings) - _MOST_SHOWN) > 0:
        lines.append(f"          and {more} more")
    if not report.crossings and not report.remembered:
        lines += [
            "",
            "Nothing crossed, but no prompt ever held a user's own word: is SynapMemory or SynapMiddleware in?",
        ]
    return "\n".join(lines)

"""`synap forget`: somebody, everywhere this machine reaches."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from synap_integrations import scoping
from synap_integrations.model import Scope
from synap_integrations.settings import Settings

from .stored import AS_JSON
from .terminal import Cell, Paper, agreed, at_home, counted, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synap_integrations.runtime.reports import Reached

_STYLES = {"forgotten": "good", "nothing there": "dim", "not reached": "bad"}
_EPILOG = """\b
Examples:
  synap forget --user ana
  synap forget --user ana --customer acme --yes --json > receipt.json
  synap forget --conversation c-42 --dry-run"""


@click.command("forget", epilog=_EPILOG)
@click.option("--user", metavar="ID", help="This user.")
@click.option("--customer", metavar="ID", help="All users of this customer (tenant); with --user, that user of it.")
@click.option("--conversation", metavar="ID", help="One conversation only.")
@click.option("--dry-run", is_flag=True, help="Count, forget nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
def command(  # noqa: PLR0913 - the options
    *, user: str | None, customer: str | None, conversation: str | None, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Forget a user, a customer or a conversation, for good.

    That is: what waits in every outbox of this machine, turns, index, what is known from them, pushed context and what
    models were shown in the embedded Synap, and what the platform of the settings holds. Asks first. Ends with a
    receipt of what was reached and what not, each with what to do.

    Exit code 1: not everything was reached, or you said no.
    """
    from synap_integrations.runtime.erasure import Erasure  # noqa: PLC0415 - not for --help

    settings = Settings.read()
    erasure = Erasure(settings, scoping.checked(Scope(conversation, user, customer_id=customer)))
    found = erasure.preview()
    if dry_run:
        _print_preview(erasure.scope, found, settings, as_json=as_json)
        return 0
    if not (as_json or yes):
        _print_preview(erasure.scope, found, settings, as_json=False)
    if not agreed(f"Forget {_named(erasure.scope)}, for good?", yes=yes):
        return 1
    receipt = erasure.run()
    missed = sum(reached.outcome == "not reached" for reached in receipt)
    if as_json:
        forgotten = {name: value for name, value in dataclasses.asdict(erasure.scope).items() if value is not None}
        places = [dataclasses.asdict(reached) for reached in receipt]
        print_json({"forgotten": forgotten, "complete": not missed, "places": places})
    else:
        _print_receipt(receipt, missed)
    return int(missed > 0)


def _named(scope: Scope) -> str:
    parts = [f"conversation {scope.conversation_id}"] if scope.conversation_id else []
    parts += [f"user {scope.user_id}"] if scope.user_id else [] if parts else ["all users"]
    parts += [f"customer {scope.customer_id}"] if scope.customer_id else []
    return " of ".join(parts)


def _print_preview(scope: Scope, found: Mapping[str, Mapping[str, int]], settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print_json({place: dict(counts) for place, counts in found.items()})
        return
    paper = Paper((9,))
    paper.line(Cell(f"What there is of {_named(scope)}:", "title"))
    for place, counts in found.items():
        paper.line(place, _counted(counts) or Cell("nothing", "dim"))
    if not settings.embedded:
        paper.line("platform", f"{settings.rest_url}, which is asked to delete what it has")


def _print_receipt(receipt: list[Reached], missed: int) -> None:
    paper = Paper((13,))
    for reached in receipt:
        text = f"{at_home(reached.place)}  {_counted(reached.counts)}".rstrip()
        text += f"\n{reached.why}" if reached.why else ""
        paper.line(Cell(reached.outcome, _STYLES[reached.outcome]), text)
        if reached.fix:
            paper.line("", Cell(f"→ {reached.fix}", "command"))
    if not receipt:
        paper.line(Cell("nothing there", "dim"), "this machine holds nothing")
    if missed:
        paper.line(Cell("incomplete", "bad"), f"{counted(missed, 'place')} not reached")


def _counted(counts: Mapping[str, int]) -> str:
    found = ((number, kind) for kind, number in counts.items() if number)
    return ", ".join(
        counted(number, kind.removesuffix("s")) if kind.endswith("s") else f"{number} {kind}" for number, kind in found
    )

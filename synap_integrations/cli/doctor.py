"""`synap doctor`: what is wrong, and what to type."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from synap_integrations.settings import Settings

from .settings import effect, setting_rows
from .stored import AS_JSON
from .terminal import Cell, Paper, at_home, counted, print_json

if TYPE_CHECKING:
    from .checks.findings import Finding

_LOOKS: Final = {
    "fine": Cell("fine", "good"),
    "note": Cell("note", "dim"),
    "warning": Cell("warning", "warning"),
    "problem": Cell("problem", "bad"),
}
_EPILOG: Final = """\b
Examples:
  synap doctor
  synap doctor --json | jq '.findings[] | select(.level == "problem")'
  SYNAP_MASK=app.privacy:mask synap doctor --bytes"""


@click.command("doctor", epilog=_EPILOG)
@click.option("--quick", is_flag=True, help="Leave out the scripted turns, which load the frameworks.")
@click.option("--bytes", "leaving", is_flag=True, help="Print exactly what would leave because of a scripted turn.")
@AS_JSON
def command(*, quick: bool, leaving: bool, as_json: bool) -> int:
    """Look for what is wrong; each finding comes with the command that fixes it.

    Versions, pairs of them that do not go together, packages that would record everything twice, what attaches,
    settings, key, endpoint and stream, what waits and why, whose the last conversations are, and one scripted turn
    through each framework that is installed, in your environment, over a platform in memory. Changes nothing.

    With --bytes, prints every request and every message of the stream that such a turn would send to the platform of
    the settings, masks applied; of the key only its fingerprint.

    Exit code 1: there is a problem.
    """
    settings = Settings.read()
    if leaving:
        return _print_leaving(settings, as_json=as_json)
    findings: list[Finding] = []
    for finding in _findings(settings, quick=quick):
        findings.append(finding)
        if not as_json:
            _print(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        found = [dataclasses.asdict(finding) for finding in findings]
        print_json({"problems": problems, "in_effect": effect(settings), "findings": found, "settings": setting_rows()})
    else:
        _print_end(findings, problems)
    return int(problems > 0)


def _findings(settings: Settings, *, quick: bool) -> Iterator[Finding]:
    from .checks import installed, reachable, storage  # noqa: PLC0415 - not for --help

    yield from installed.versions()
    yield from reachable.settings_findings(settings)
    yield from asyncio.run(reachable.platform_findings(settings))
    yield from storage.storage_findings(settings)
    yield from storage.outbox_findings(settings)
    yield from storage.memory_findings(settings)
    yield from storage.run_findings(settings)
    if not quick:
        yield from installed.turns()


def _print(finding: Finding) -> None:
    paper = Paper((7, 14))
    paper.line(_LOOKS[finding.level], finding.about, at_home(finding.says))
    if finding.fix:
        paper.line("", "", Cell(f"→ {finding.fix}", "command"))


def _print_end(findings: list[Finding], problems: int) -> None:
    warnings = counted(sum(finding.level == "warning" for finding in findings), "warning")
    Paper().line()
    if problems:
        Paper().line(Cell(f"{counted(problems, 'problem')}, {warnings}", "bad"))
    elif not warnings.startswith("0 "):
        Paper().line(Cell(f"No problem, {warnings}", "warning"))
    else:
        Paper().line(Cell("Everything is fine.", "good"))


# --- what would leave --------------------------------------------------------------------------------------------


def _print_leaving(settings: Settings, *, as_json: bool) -> int:
    from .checks.installed import manifests, scripted_turns  # noqa: PLC0415 - not for --help

    known = manifests()
    played = scripted_turns([manifest.name for manifest in known])
    turns = {manifest.title: played[manifest.name] for manifest in known}
    if as_json:
        print_json({"leaves": not settings.embedded, "turns": turns})
        return 0
    if settings.embedded:
        says = "Nothing leaves this machine with these settings. With a key for the cloud, a turn would send:"
        Paper().line(Cell(says, "good"))
    for title, turn in turns.items():
        Paper().title(title)
        if error := turn.get("error"):
            Paper().line(Cell(f"no turn: {error}", "dim"))
            continue
        for message in turn["sent"]:
            _print_message(message)
    return 0


def _print_message(message: Mapping[str, Any]) -> None:
    paper, inside = Paper(), Paper((2,))
    if message["over"] == "rest":
        size = len(message["body"].encode())
        paper.line(Cell(f"REST to {message['to']}, a body of {size} bytes", "command"))
        inside.line("", message["line"])
        for name, value in message["headers"].items():
            inside.line("", Cell(f"{name}: {value}", "dim"))
        if message["body"]:
            inside.line()
            inside.line("", message["body"])
    elif message["metadata"]:
        paper.line(Cell(f"stream to {message['to']} opens", "command"))
        for name, value in message["metadata"].items():
            inside.line("", Cell(f"{name}: {value}", "dim"))
    else:
        paper.line(Cell(f"stream message, {len(message['hex']) // 2} bytes", "command"))
        inside.line("", message["message"])
        inside.line("", Cell(_hexadecimal(message["hex"]), "dim"))
    paper.line()


def _hexadecimal(text: str) -> str:
    width = max(32, (min(shutil.get_terminal_size().columns, 132) - 4) // 2 * 2)
    return "\n".join(textwrap.wrap(text, width))

"""What is installed, what would be recorded twice, and whether a scripted turn gets through each framework."""

from __future__ import annotations

import json
import platform
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any, Final

from synap_integrations.settings import Settings, environment_with

from .attached import attached_finding
from .findings import Finding
from .pairs import bad_pairs

_OURS: Final = "synap-integrations"
_ALONGSIDE: Final = ("grpcio", "httpx", "protobuf", "pydantic")
_TURN: Final = ["UserMessage", "ToolCall", "ToolResult", "AssistantMessage"]
TURN_S: Final = 120.0
"""Longest a framework may take to load and to answer the scripted question."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """An island's ``integration.toml``, as far as this needs it."""

    name: str
    title: str
    trigger: str
    requires: str
    supersedes: tuple[str, ...]

    @property
    def distribution(self) -> str:
        """The package that must be installed."""
        return re.split(r"[<>=!~ ]", self.requires, maxsplit=1)[0]


def manifests() -> list[Manifest]:
    """Every framework that we know, by name."""
    found: list[Manifest] = []
    for folder in sorted(files("synap_integrations").iterdir(), key=lambda entry: entry.name):
        file = folder.joinpath("integration.toml")
        if folder.is_dir() and file.is_file():
            said = tomllib.loads(file.read_text(encoding="utf-8"))
            found.append(
                Manifest(said["name"], said["title"], said["trigger"], said["requires"][0], tuple(said["supersedes"]))
            )
    return found


def versions() -> Iterator[Finding]:
    """What this is run by, what would record everything a second time, what does not go together, what attaches."""
    alongside = {name: found for name in _ALONGSIDE if (found := _version(name))}
    details = {
        "synap_integrations": _version(_OURS) or "not installed",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **alongside,
    }
    yield Finding("versions", "fine", ", ".join(f"{name} {number}" for name, number in details.items()), "", details)
    for manifest in manifests():
        for name in manifest.supersedes:
            if found := _version(name):
                says = f"{name} {found} is installed, too: every turn of {manifest.title} may be recorded twice"
                yield Finding("double capture", "problem", says, f"pip uninstall {name}")
    yield from bad_pairs(_version)
    yield attached_finding([manifest.title for manifest in manifests() if _version(manifest.distribution)])


def turns() -> Iterator[Finding]:
    """One scripted turn through each framework, in a process of its own, over a platform in memory."""
    known = manifests()
    played = scripted_turns([manifest.name for manifest in known if _version(manifest.distribution)])
    for manifest in known:
        if installed := _version(manifest.distribution):
            yield _judged(manifest, f"{manifest.distribution} {installed}", played[manifest.name])
        else:
            says = f"{manifest.distribution} is not installed"
            yield Finding(manifest.name, "note", says, f"pip install '{_OURS}[{manifest.name}]'")


def scripted_turns(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`scripted_turn` of several frameworks, at the same time: most of it is loading them."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(scripted_turn, names), strict=True))


def scripted_turn(name: str) -> dict[str, Any]:
    """What became of a scripted turn: ``events``, ``status``, ``seconds``, ``sent``; or ``error``."""
    program = [sys.executable, "-m", "synap_integrations.cli.checks.one_turn", name]
    try:
        ended = subprocess.run(  # noqa: S603 - our own module
            program, env=environment_with({}), capture_output=True, text=True, timeout=TURN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {TURN_S:g} s"}
    said = ended.stdout.rpartition("\n\x1e")[2]
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        complaint = ended.stderr.strip().splitlines() or [f"the process ended with {ended.returncode}"]
        return {"error": complaint[-1]}
    return found


def _judged(manifest: Manifest, what: str, turn: Mapping[str, Any]) -> Finding:
    about = manifest.name
    if error := turn.get("error"):
        return Finding(about, "problem", f"{what}: {error}", f"pip install '{_OURS}[{manifest.name}]' --upgrade", turn)
    if not Settings.capturing():
        return Finding(about, "warning", f"{what}: capture is off", "unset SYNAP_CAPTURE", turn)
    events, status = turn["events"], turn["status"]
    details = {name: value for name, value in turn.items() if name != "sent"}
    if not events and Settings.read().sample_rate < 1:
        return Finding(about, "note", f"{what}: the scripted conversation is not in the sample", "", details)
    if events != _TURN:
        says = f"{what}: recorded {', '.join(events) or 'nothing'} instead of {', '.join(_TURN)}"
        return Finding(about, "problem", says, "synap doctor --json  and tell us", details)
    if status["delivered"] < len(_TURN) or turn["incidents"]:
        says = f"{what}: {status['delivered']} of {len(events)} delivered; faults: {turn['incidents'] or 'none'}"
        return Finding(about, "problem", says, "synap doctor --json  and tell us", details)
    says = f"{what}: a scripted turn with a tool was recorded and delivered, each event once"
    return Finding(about, "fine", says, "", details)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None

"""``python -m synap_integrations.cli.checks.one_turn FRAMEWORK``: a scripted turn, and what would leave because of it.

Everything is as in the application: its settings, its mask, its frameworks. Only the platform is one in memory that
notes the bytes it is given.
"""

from __future__ import annotations

import json
import pkgutil
import sys
import time
import tomllib
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from synap_integrations.model import Context, Event, Scope
from synap_integrations.runtime import Synap
from synap_integrations.settings import Settings

from .egress import NotingPlatform

if TYPE_CHECKING:
    from synap_integrations.ports import Attach

WHO = "synap-doctor"
_MARK = "\n\x1e"
"""Before the answer, so that what a framework prints is not taken for it."""


class _Witness:
    """A `Memory` that hands everything on to a Synap and remembers what kind it was."""

    def __init__(self, synap: Synap) -> None:
        self.kinds: list[str] = []
        self._synap = synap

    def record(self, event: Event, *, scope: Scope) -> None:
        before = self._synap.status().captured
        self._synap.record(event, scope=scope)
        if self._synap.status().captured > before:
            self.kinds.append(type(event).__name__)

    def recall(self, query: str | None, *, scope: Scope) -> Context:
        return self._synap.recall(query, scope=scope)

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        return await self._synap.arecall(query, scope=scope)


def main(name: str) -> None:
    """Run the turn and print one JSON object."""
    from synap_integrations.client import SynapClient  # noqa: PLC0415 - after the framework's choice of event loop

    manifest = tomllib.loads(files("synap_integrations").joinpath(name, "integration.toml").read_text("utf-8"))
    settings = Settings.read().but(storage_path=Path(":memory:"))
    began = time.perf_counter()
    attach: Attach = pkgutil.resolve_name(manifest["attach"])
    run_one_turn = pkgutil.resolve_name(manifest["probe"])
    loaded = time.perf_counter()
    platform = NotingPlatform(settings)
    synap = Synap(SynapClient(settings=settings, inline=True, platform=platform), settings=settings)
    witness = _Witness(synap)
    detach = attach(witness)
    run_one_turn(conversation_id=WHO, user_id=WHO)
    synap.flush(60)
    status = asdict(synap.status())
    detach()
    synap.close(2)
    answer = {
        "events": witness.kinds,
        "status": status,
        "incidents": status["incidents"],
        "seconds": {"import": round(loaded - began, 3), "turn": round(time.perf_counter() - loaded, 3)},
        "sent": platform.sent,
    }
    sys.stdout.write(f"{_MARK}{json.dumps(answer)}\n")


if __name__ == "__main__":
    main(sys.argv[1])

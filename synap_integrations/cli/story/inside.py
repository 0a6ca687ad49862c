"""What stands in the embedded Synap's file: read back from there, not remembered from what was sent."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from synap_integrations.server.database import Database
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Happening

from .findings import Line, Transcript


def transcript(file: Path, conversation_id: str) -> Transcript:
    """The conversation, with tool calls and results where they happened."""
    with closing(Database(file)) as database:
        engine = Engine(database)
        turns = engine.transcript(conversation_id)
        happened = engine.ledger.events(turns[0].owner, turns[0].conversation_id) if turns else []
    entries = [(turn.said_at.isoformat(), Line(turn.role, turn.content)) for turn in turns]
    entries += [(_when(event), line) for event in happened if (line := _tool_line(event))]
    return Transcript(conversation_id, [line for _, line in sorted(entries, key=lambda entry: entry[0])])


def turns_stored(file: Path) -> int:
    """How many turns there are, of everybody."""
    with closing(Database(file)) as database:
        return Engine(database).stats()["turns"]


def _when(event: Happening) -> str:
    metadata = event.body.get("metadata")
    return str(metadata.get("synap_occurred_at", "")) if isinstance(metadata, dict) else ""


def _tool_line(event: Happening) -> Line | None:
    name = event.body.get("tool_name")
    if event.kind == "tool_call":
        return Line("tool call", f"{name}({event.body.get('tool_args_json', '')})")
    if event.kind == "tool_result":
        return Line("tool result", f"{name} = {event.body.get('tool_result_json', '')}")
    return None

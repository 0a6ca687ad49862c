"""A conversation as a test compares it: who said what, and which tools were used, in order. Pure.

    ("user", text)   ("assistant", text)   ("tool_call", name, arguments)   ("tool_result", name, text)

A result that is no text is its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import ndiff
from typing import TypeAlias

from synap_integrations.server.records import Happening, Turn
from synap_integrations.wire.items import moment

Line: TypeAlias = tuple[object, ...]


class Transcript(list[Line]):
    """A list of lines, equal to a list of the same tuples. Prints as a dialogue; ``note`` says why it may be empty."""

    def __init__(self, lines: Iterable[Line] = (), *, note: str = "") -> None:
        super().__init__(lines)
        self.note = note

    def __str__(self) -> str:
        return "\n".join(dialogue(self)) or self.note

    def texts(self) -> list[str]:
        """What was said, without who said it and without tools."""
        return [str(line[1]) for line in self if line[0] in {"user", "assistant"}]


def transcript_of(turns: Sequence[Turn], happenings: Sequence[Happening]) -> Transcript:
    """Turns and tool events in the order in which they were captured; where nobody dated them, of storing."""
    dated: list[tuple[datetime, Line]] = [
        (_captured(turn.metadata, turn.recorded_at), (turn.role, turn.content)) for turn in turns
    ]
    for happening in happenings:
        line, metadata = _tool_line(happening), happening.body.get("metadata")
        if line is not None and happening.at is not None:
            dated.append((_captured(metadata, happening.at), line))
    return Transcript(line for _, line in sorted(dated, key=lambda entry: entry[0]))


def difference(left: object, right: object) -> list[str] | None:
    """Why two transcripts differ, line by line: ``-`` is only on the left, ``+`` only on the right.

    None, if neither is a transcript, or one is no list of lines.
    """
    if not (isinstance(left, Transcript) or isinstance(right, Transcript)):
        return None
    if not (isinstance(left, list) and isinstance(right, list)):
        return None
    notes = [side.note for side in (left, right) if isinstance(side, Transcript) and side.note]
    ours, theirs = dialogue(left), dialogue(right)
    return ["the transcripts differ", *notes, *(line.rstrip("\n") for line in ndiff(ours, theirs))]


def dialogue(lines: Sequence[object]) -> list[str]:
    """One line of text for each entry; what is no entry is shown as it is."""
    return [_shown(line) for line in lines]


def _shown(line: object) -> str:
    match line:
        case ("tool_call", str(name), arguments):
            return f"tool_call    {name}({json.dumps(arguments, ensure_ascii=False, default=repr)})"
        case ("tool_result", str(name), result):
            return f"tool_result  {name} = {result!r}"
        case (str(role), str(text)):
            return f"{role:<12} {text!r}" if "\n" in text else f"{role:<12} {text}"
        case _:
            return repr(line)


def _tool_line(happening: Happening) -> Line | None:
    body = happening.body
    match happening.kind:
        case "tool_call":
            arguments: object = json.loads(str(body.get("tool_args_json", "{}")))
            return ("tool_call", body.get("tool_name", ""), arguments)
        case "tool_result":
            # A text travels bare: what looks like JSON may be either, so it stays as it came.
            return ("tool_result", body.get("tool_name", ""), body.get("tool_result_json", ""))
        case _:
            return None


def _captured(metadata: object, stored_at: datetime) -> datetime:
    """When it was captured. Times of capture and of storing are of the same clock."""
    found = metadata.get("synap_occurred_at") if isinstance(metadata, Mapping) else None
    return moment(found) or stored_at

"""Turns from a file, for a server that is to know something from the start."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from synap_integrations.errors import InvalidInputError

from .engine import Engine
from .records import NewTurn
from .rest.bodies import Request, new_turn

_TOGETHER: Final = 500


def sow(engine: Engine, path: Path) -> int:
    """Record the turns of a file; how many there are. A second time changes nothing.

    Each line is the body of ``record_message``: conversation_id, user_id, role, content, and what else it may have.

    Raises: InvalidInputError, naming the line and the fault; nothing is recorded then. OSError, if it cannot be read.
    """
    turns = list(_turns(path))
    for start in range(0, len(turns), _TOGETHER):
        engine.record_all(turns[start : start + _TOGETHER])
    return len(turns)


def _turns(path: Path) -> Iterator[NewTurn]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            # The same line may be in a file twice, and is then said twice.
            key = f"seed:{number}:{blake2b(line.strip(), digest_size=16).hexdigest()}"
            try:
                yield new_turn(Request({}, {}, line, {}).json(), key=key, correlation_id=None)
            except InvalidInputError as error:
                message = f"{path}, line {number}: {error.message}"
                raise InvalidInputError(message, details={"line": number}) from None

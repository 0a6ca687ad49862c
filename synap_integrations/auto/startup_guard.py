"""The door of start-up: whatever fails behind it costs one line on stderr, and the application runs as it is.

`guard.contained` is the same for everything that happens later. It counts and logs; here there is nobody yet to ask
for counts, no log, and no time to load what they need.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_MOST_CHARS = 400


class untouched:  # noqa: N801 - reads as a statement: ``with untouched("langchain"):``
    """Keep an ``Exception`` from the application; say in one line what is not there because of it."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Swallow an ``Exception`` after naming it."""
        if not isinstance(error, Exception):
            return False
        say(f"{self._what}: {type(error).__name__}: {error}")
        return True


def say(text: str) -> None:
    """One line on stderr; nothing if there is none to write to."""
    line = " ".join(text.split())
    line = "".join([one if one.isprintable() else "?" for one in line])[:_MOST_CHARS]
    if sys.stderr is not None:
        sys.stderr.write(f"synap: {line}\n")

"""What commands print: laid out and coloured in a terminal where rich is installed, plain lines otherwise.

Whatever was stored is somebody else's text: no control character of it reaches the terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from synap_integrations.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

STYLES: Final[Mapping[str, str]] = {
    "title": "bold",
    "dim": "dim",
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "command": "cyan",
    "user": "bold cyan",
    "assistant": "bold green",
    "tool": "magenta",
    "pushed": "yellow",
}
_ROOM: Final = 24
"""Columns that the last cell of a line needs; with fewer it gets lines of its own."""
_JOINER: Final = "\u200d"


class Cell(NamedTuple):
    """A text and how it looks."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """Lines of cells. ``widths`` are those of all columns but the last, which takes what is left."""

    widths: tuple[int, ...] = ()

    def line(self, *cells: Cell | str) -> None:
        """Print one line; the last cell continues below itself, and cells that are not given are empty."""
        made = [Cell(shown(cell.text), cell.style) if isinstance(cell, Cell) else Cell(shown(cell)) for cell in cells]
        console = _console()
        if console is None:
            sys.stdout.write(f"{self._plain([cell.text for cell in made])}\n")
        else:
            self._rich(console, made)

    def title(self, text: str) -> None:
        """Print a heading with an empty line before it."""
        Paper().line()
        Paper().line(Cell(text, "title"))

    def _plain(self, texts: list[str]) -> str:
        *first, last = texts or [""]
        head = "".join(f"{text:<{width}}  " for text, width in zip(first, self.widths, strict=False))
        return f"\n{' ' * len(head)}".join(f"{head}{last}".rstrip().split("\n")) if last else head.rstrip()

    def _rich(self, console: Console, cells: list[Cell]) -> None:
        from rich.padding import Padding  # noqa: PLC0415 - may be missing
        from rich.table import Table  # noqa: PLC0415 - see above
        from rich.text import Text  # noqa: PLC0415 - see above

        texts = [Text(cell.text, style=STYLES.get(cell.style, ""), overflow="fold") for cell in cells]
        widths = self.widths[: len(texts) - 1]
        if not widths or console.width < sum(widths) + 2 * len(widths) + _ROOM:
            head = Text("  ").join(text for text in texts[:-1] if text.plain.strip())
            if head:
                console.print(head)
            for text in texts[-1:] or [Text()]:
                console.print(Padding(text, (0, 0, 0, 2 if widths else 0), expand=False))
            return
        grid = Table.grid(padding=(0, 2, 0, 0), expand=False)
        for width in widths:
            grid.add_column(min_width=width, max_width=max(width, 1), overflow="fold")
        grid.add_column(overflow="fold")
        grid.add_row(*texts)
        console.print(grid)


def _console() -> Console | None:
    """The terminal, if there is one and rich can write to it."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - may be missing
    except ModuleNotFoundError:
        return None
    return Console(highlight=False, markup=False, emoji=False)


def shown(text: str) -> str:
    """The text as a terminal may have it: control characters and marks of direction are replaced."""
    plain = text.replace("\r\n", "\n").expandtabs(4)
    if plain.isprintable():
        return plain
    return "".join(c if c.isprintable() or c in {"\n", _JOINER} else _picture(c) for c in plain)


def in_short(text: str, characters: int = 80) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def _picture(character: str) -> str:
    return chr(0x2400 + ord(character)) if character < " " else "\u2421" if character == "\x7f" else "\ufffd"


def print_json(value: Mapping[str, object] | Sequence[object], *, lines: bool = False) -> None:
    """Print JSON; with ``lines``, each object on a line of its own. Letters stay letters, nothing else does."""
    for one in value if lines and isinstance(value, Sequence) else [value]:
        text = json.dumps(one, ensure_ascii=False, indent=None if lines else 2)
        safe = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
        sys.stdout.write(f"{safe}\n")


def counted(number: int, thing: str) -> str:
    """``1 turn``, ``2 turns``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


_KINDS: Final = {"UserMessage": "user turn", "AssistantMessage": "assistant turn", "ContextUsed": "context shown"}


def kind_in_words(kind: str) -> str:
    """A kind of event as people call it: ``UserMessage`` is a user turn, ``ToolCall`` a tool call."""
    return _KINDS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def at_home(path: Path | str) -> str:
    """A path as people write it."""
    return str(path).replace(str(Path.home()), "~", 1)


def agreed(question: str, *, yes: bool) -> bool:
    """Whether the person at the terminal agrees; ``yes`` if that was said before.

    Raises: InvalidInputError, if there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        message = f"{question} Nobody is there to ask: pass --yes"
        raise InvalidInputError(message)
    return click.confirm(shown(question), default=False, err=True)

"""Whether figures keep their bounds, and how a table of them looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proof_lines import Line

GREEN, RED = "kept", "BROKEN"


@dataclass(frozen=True)
class Outcome:
    """What became of one line. ``fault`` says why there are no figures, if there are none."""

    name: str
    line: Line
    figures: dict[str, float]
    took_s: float
    fault: str = ""
    short: bool = False

    @property
    def broken(self) -> list[str]:
        """Every bound that does not hold, with the figure."""
        if self.fault:
            return [self.fault]
        beyond = [f"{name} {value:,} > {most:,}" for name, most, value in self._bounded(self.line.most) if value > most]
        least = self.line.form(short=self.short).least
        return beyond + [f"{name} {value:,} < {few:,}" for name, few, value in self._bounded(least) if value < few]

    def _bounded(self, bounds: dict[str, float]) -> Iterable[tuple[str, float, float]]:
        return [(name, bound, self.figures[name]) for name, bound in bounds.items()]

    @property
    def verdict(self) -> str:
        """One word."""
        return RED if self.broken else GREEN

    def as_json(self) -> dict[str, object]:
        """Everything that is known of it."""
        return {
            "line": self.name,
            "what": self.line.what,
            "form": "short" if self.short else "full",
            "figures": self.figures,
            "at_most": self.line.most,
            "at_least": self.line.form(short=self.short).least,
            "broken": self.broken,
            "seconds": round(self.took_s, 1),
        }


def row(outcome: Outcome) -> str:
    """One line of the table, in Markdown."""
    cells = (
        outcome.line.what,
        outcome.fault or ", ".join(_said(name, value) for name, value in outcome.figures.items()),
        target(outcome.line),
        outcome.verdict if not outcome.broken else f"{RED}: {'; '.join(outcome.broken)}",
        f"{outcome.took_s:.0f} s",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


HEADING = "| What | Figures | Target | Verdict | Took |\n|---|---|---|---|---|"


def target(line: Line) -> str:
    """What is promised: nothing of some, little of others."""
    none = [name.replace("_", " ") for name, most in line.most.items() if not most]
    some = [f"{name.replace('_', ' ')} ≤ {most:,}" for name, most in line.most.items() if most]
    return ", ".join(([f"0 {' / '.join(none)}"] if none else []) + some)


def _said(name: str, value: float) -> str:
    return f"{value:,} {name.replace('_', ' ')}"

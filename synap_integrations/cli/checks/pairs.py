"""Versions that do not work together, whoever uses them, and that a memory would be blamed for: each was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from .findings import Finding


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions of a distribution, from ``oldest`` on and below ``below``."""

    distribution: str
    oldest: str
    below: str

    def include(self, version: str) -> bool:
        """Whether this is one of them."""
        return _numbers(self.oldest) <= _numbers(version) < _numbers(self.below)


@dataclass(frozen=True, slots=True)
class BadPair:
    """Two distributions, what breaks where both are installed, and the command that mends it."""

    one: Versions
    other: Versions
    breaks: str
    fix: str


BAD_PAIRS: Final = (
    BadPair(
        Versions("pydantic", "2.14", "2.15"),
        Versions("llama-index-core", "0.12", "0.14.26"),
        "LlamaIndex's SimpleChatStore cannot be serialized, so its ChatMemoryBuffer is lost between runs of an agent",
        "pip install 'pydantic<2.14'",
    ),
    BadPair(
        Versions("anthropic", "2", "3"),
        Versions("llama-index-llms-anthropic", "0.10", "0.12.4"),
        "LlamaIndex's adapter cannot convert a message for Anthropic (Cannot instantiate typing.Union)",
        "pip install 'anthropic<2'",
    ),
)
"""An upper bound is the first version that was not there to be tried: a newer one is not accused.

Source: tried with pydantic 2.14.3 and llama-index-core 0.12.52 and 0.14.25; llama-index-llms-anthropic 0.12.3 with
anthropic 2.11.
"""


def bad_pairs(version_of: Callable[[str], str | None]) -> Iterator[Finding]:
    """A warning for each pair that is installed here."""
    for pair in BAD_PAIRS:
        one, other = version_of(pair.one.distribution), version_of(pair.other.distribution)
        if one and other and pair.one.include(one) and pair.other.include(other):
            says = f"{pair.one.distribution} {one} with {pair.other.distribution} {other}: {pair.breaks}"
            yield Finding("bad pair", "warning", says, pair.fix)


def _numbers(version: str) -> tuple[int, ...]:
    """The release; what follows it, such as ``rc1``, does not count."""
    numbers: list[int] = []
    for part in version.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers + [0] * (3 - len(numbers)))

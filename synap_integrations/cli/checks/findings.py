"""What a check has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["fine", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: what it is about, how it is, and what to type if that is not fine."""

    about: str
    level: Level
    says: str
    fix: str = ""
    details: Mapping[str, object] = field(default_factory=dict[str, object])

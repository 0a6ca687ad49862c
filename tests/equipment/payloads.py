"""The corpus of texts that somebody could plant in a memory: `tests/safety/payloads.toml`, by class of attack."""

from __future__ import annotations

import tomllib
from pathlib import Path

_FILE = Path(__file__).parents[1] / "safety" / "payloads.toml"
CORPUS: dict[str, list[str]] = {
    name: table["texts"] for name, table in tomllib.loads(_FILE.read_text(encoding="utf-8")).items()
}
ALL: list[str] = [text for texts in CORPUS.values() for text in texts]

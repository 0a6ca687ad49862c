"""Which frameworks we know: read from the manifests of the islands, so that a new folder is all it takes.

Reads the few lines it needs itself: `tomllib` takes longer to import than many programs to start. A test compares the
two for every manifest.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "integration.toml"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Island:
    """A framework's folder. ``attach`` is the ``module:function`` to call when ``trigger`` was imported.

    ``inject`` and ``inject_trigger`` are the same for putting context into prompts; empty if that needs code.
    """

    __slots__ = ("attach", "inject", "inject_trigger", "name", "trigger")

    def __init__(self, said: dict[str, str]) -> None:
        self.name = said["name"]
        self.trigger = said["trigger"]
        self.attach = said["attach"]
        self.inject = said.get("inject", "")
        self.inject_trigger = said.get("inject_trigger", self.trigger if self.inject else "")


def islands() -> Iterator[Island]:
    """Every island of the package, by name."""
    for folder in sorted(os.listdir(_PACKAGE)):
        said = _lines(os.path.join(_PACKAGE, folder, MANIFEST))
        if said:
            yield Island(said)


def _lines(path: str) -> dict[str, str]:
    """The ``key = "text"`` lines of a manifest; nothing if there is none."""
    try:
        with open(path, encoding="utf-8") as manifest:
            pairs = [line.partition("=") for line in manifest if not line.startswith("#")]
    except OSError:
        return {}
    texts = {key.strip(): value.strip() for key, _, value in pairs}
    return {key: value[1:-1] for key, value in texts.items() if len(value) > 1 and value[0] == value[-1] == '"'}

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
    """A framework's folder. ``trigger`` is the module whose import wakes it; ``attach`` and ``inject`` are
    ``module:function``, ``inject`` empty if context cannot be put into its prompts without code.
    """

    __slots__ = ("attach", "inject", "name", "trigger")

    def __init__(self, name: str, trigger: str, attach: str, inject: str = "") -> None:
        self.name = name
        self.trigger = trigger
        self.attach = attach
        self.inject = inject


def islands() -> Iterator[Island]:
    """Every island of the package, by name."""
    for folder in sorted(os.listdir(_PACKAGE)):
        said = _lines(os.path.join(_PACKAGE, folder, MANIFEST))
        if said:
            yield Island(said["name"], said["trigger"], said["attach"], said.get("inject", ""))


def _lines(path: str) -> dict[str, str]:
    """The ``key = "text"`` lines of a manifest; nothing if there is none."""
    try:
        with open(path, encoding="utf-8") as manifest:
            pairs = [line.partition("=") for line in manifest if not line.startswith("#")]
    except OSError:
        return {}
    texts = {key.strip(): value.strip() for key, _, value in pairs}
    return {key: value[1:-1] for key, value in texts.items() if len(value) > 1 and value[0] == value[-1] == '"'}

"""For us and for the people who use us: fakes and contracts, a Synap for each test, and a trial of isolation.

Each name is loaded when it is first used: pytest imports this package at the start of every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fakes import FakeMemory
    from .isolation import prove_isolation
    from .rig import Rig
    from .transcript import Transcript

__all__ = ["FakeMemory", "Rig", "Transcript", "prove_isolation"]

_HOME = {"FakeMemory": "fakes", "Rig": "rig", "Transcript": "transcript", "prove_isolation": "isolation"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module  # noqa: PLC0415 - for whoever wants a name

    return getattr(import_module(f".{_HOME[name]}", __name__), name)

"""For us and for the people who use us: fakes and contracts that need no platform, and a trial of isolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .fakes import FakeMemory

if TYPE_CHECKING:
    from .isolation import prove_isolation

__all__ = ["FakeMemory", "prove_isolation"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    """The trial builds a whole Synap, which a test with a fake does not need."""
    if name == "prove_isolation":
        from .isolation import prove_isolation  # noqa: PLC0415 - see above

        return prove_isolation
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

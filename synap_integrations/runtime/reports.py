"""What a `Synap` says about itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from synap_integrations.outbox import Erased


@dataclass(frozen=True, slots=True)
class Status:
    """What became of what was captured.

    ``captured + adopted == delivered + waiting + refused + dead_letters + forgotten``.
    ``adopted`` was captured by earlier processes that ended before it was delivered; ``locked`` too, but sealed with a
    key that ``SYNAP_OUTBOX_KEY`` does not name: it stays on disk. ``state`` is what delivery is doing now,
    ``incidents`` our own faults that were contained, by door and cause.
    """

    captured: int = 0
    delivered: int = 0
    waiting: int = 0
    refused: int = 0
    dead_letters: int = 0
    adopted: int = 0
    forgotten: int = 0
    locked: int = 0
    state: str = "not started"
    platform: str = ""
    outbox: str = ""
    bundles: int = 0
    incidents: dict[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' '):<14}{value}" for name, value in asdict(self).items())


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `Synap.forget` reached, and what it did not."""

    outbox: Erased
    bundles: int
    """Pushed bundles that were held for recalls."""

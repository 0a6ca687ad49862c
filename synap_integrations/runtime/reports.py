"""What a `Synap` says about itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal, Self

from synap_integrations.outbox import Erased
from synap_integrations.ports import Answer


@dataclass(frozen=True, slots=True)
class Status:
    """What became of what was captured.

    ``captured + adopted == delivered + waiting + refused + dead_letters + forgotten``.
    ``held`` of the dead letters may have arrived (`Settings.on_unknown`), ``evicted`` of them made room for newer ones.
    ``pending_commit`` of those that wait are still in memory, because the disk is slow; ``repeats`` came again under
    the id of what waits or was delivered.
    ``adopted`` was captured by earlier processes that ended before it was delivered; ``locked`` too, but sealed with a
    key that ``SYNAP_OUTBOX_KEY`` does not name: it stays on disk. ``storage`` is the kind of file system that the
    outbox is on, and says so if that does not outlive a container, or is on a network. ``state`` is what delivery is
    doing now; where it is held, `synap doctor` says what to do. ``late`` runs of this
    process began after their turn had ended and named nobody: they are no turns, and are recorded nowhere.
    ``incidents`` are our own faults that were contained, by door and cause.
    """

    captured: int = 0
    delivered: int = 0
    waiting: int = 0
    refused: int = 0
    dead_letters: int = 0
    evicted: int = 0
    held: int = 0
    adopted: int = 0
    forgotten: int = 0
    repeats: int = 0
    pending_commit: int = 0
    locked: int = 0
    state: str = "not started"
    platform: str = ""
    outbox: str = ""
    storage: str = ""
    bundles: int = 0
    late: int = 0
    incidents: dict[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' '):<16}{value}" for name, value in asdict(self).items())


@dataclass(frozen=True, slots=True)
class Reached:
    """One place, and what became of what it held. ``fix`` says what to do where it was not reached."""

    place: str
    outcome: Literal["forgotten", "nothing there", "not reached"]
    counts: dict[str, int] = field(default_factory=dict[str, int])
    why: str = ""
    fix: str = ""

    @classmethod
    def platform(cls, place: str, answer: Answer) -> Self:
        """What a platform answered to `Erase`."""
        if answer.fault is not None:
            return cls(
                place, "not reached", why=answer.fault.message, fix="forget again when `synap doctor` is content"
            )
        counts = dict(answer.counts)
        if answer.left:
            why = f"it says that some is left ({', '.join(answer.left)})"
            return cls(place, "not reached", counts, why, fix="forget again")
        return cls(place, "nothing there" if answer.source == "none" else "forgotten", counts)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `Synap.forget` reached, and what it did not."""

    outbox: Erased
    bundles: int
    """Pushed bundles that were held for recalls."""
    platform: Reached

    @property
    def complete(self) -> bool:
        """True if nothing was out of reach: no file in use or put aside, nothing under way or left
        by a failing disk, and not the platform.
        """
        here = self.outbox
        out_of_reach = here.under_way or here.files_in_use or here.files_put_aside or here.not_deleted
        return self.platform.outcome != "not reached" and not out_of_reach

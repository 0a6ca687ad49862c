"""What a forked child must not share with its parent: connections, locks, threads."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """Something that begins anew in a forked child."""

    def forget_parent(self) -> None:
        """In the child: leave the parent's locks and handles alone and begin with own ones."""


_alive: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()


def survives_forks(thing: Forkable) -> None:
    """Have ``thing.forget_parent()`` called in every child that is forked while it lives."""
    _alive.add(thing)


def _in_child() -> None:
    for thing in list(_alive):
        thing.forget_parent()


os.register_at_fork(after_in_child=_in_child)

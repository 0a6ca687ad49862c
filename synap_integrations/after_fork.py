"""What a forked child begins anew: locks that another thread held, and whatever is its parent's alone."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol


class Forked(Protocol):
    """Something with a lock, or with books of its process."""

    def after_fork_in_child(self) -> None:
        """Make locks anew and forget what belongs to the parent. No I/O, and nothing here may be locked."""


_watched: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()


def watch(thing: Forked) -> None:
    """Call its `after_fork_in_child` in every child of this process, for as long as it lives."""
    _watched.add(thing)


class Lock(AbstractContextManager[None]):
    """A lock that its holder may take again, and that nobody holds in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        watch(self)

    def after_fork_in_child(self) -> None:
        """A new one."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Wait for it."""
        self._lock.acquire()

    def __exit__(self, *_raised: object) -> None:
        """Give it back."""
        # Whoever forked while holding it does not hold the child's.
        with suppress(RuntimeError):
            self._lock.release()


class Event(threading.Event):
    """An event that has not happened in a forked child."""

    def __init__(self) -> None:
        super().__init__()
        watch(self)

    def after_fork_in_child(self) -> None:
        """Not yet, here."""
        super().__init__()


def _in_child() -> None:
    for thing in tuple(_watched):
        thing.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

"""Forks: nobody is inside SQLite when a process splits, and the child starts afresh."""

from __future__ import annotations

# Who registers last is asked first: the locks of these two are still free while ours come to rest, which is when our
# thread may be importing what needs them.
import concurrent.futures.thread  # noqa: F401 - see above
import logging  # noqa: F401 - see above
import os
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """Something that holds threads, locks or files, which a forked child must not share."""

    def before_fork(self) -> None:
        """Come to rest; called in order of creation, so that two forks at once cannot block each other."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Forget what belongs to the parent; open nothing."""


_watched: Final[list[weakref.ref[Forkable]]] = []


def watch(thing: Forkable) -> None:
    """Tell ``thing`` of every fork of this process, for as long as it lives."""
    _watched.append(weakref.ref(thing, _watched.remove))


def _living() -> list[Forkable]:
    return [thing for reference in list(_watched) if (thing := reference()) is not None]


def _before() -> None:
    for thing in _living():
        thing.before_fork()


def _in_parent() -> None:
    for thing in reversed(_living()):
        thing.after_fork_in_parent()


def _in_child() -> None:
    for thing in _living():
        thing.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

"""The Synap of this process: one for whoever names none."""

from __future__ import annotations

import threading
from typing import Final

from synap_integrations import after_fork
from synap_integrations.client import addresses
from synap_integrations.guard import incidents
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.settings import Settings

from .environment import capturing
from .late import late_runs
from .reports import Status
from .synap import Synap


class _Shared:
    """The Synap of this process: made at first use, from the environment of that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._synap: Synap | None = None
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock: nobody holds it here."""
        self._lock = threading.Lock()

    def get(self) -> Synap:
        with self._lock:
            if self._synap is None:
                self._synap = Synap()
            return self._synap

    def peek(self) -> Synap | None:
        return self._synap

    def replace(self, synap: Synap | None) -> Synap | None:
        with self._lock:
            before, self._synap = self._synap, synap
        return before


_shared: Final = _Shared()


def default_synap() -> Synap:
    """The process-wide Synap, made from the environment when it is first asked for."""
    return _shared.get()


def check_settings() -> None:
    """Make sure that the process-wide Synap can be made, while there is somebody to tell: where it is needed first, in
    a callback, nothing is raised. Makes and opens nothing.

    Raises: InvalidInputError, if what the environment says cannot be used. Not while nothing is to be captured.
    """
    if _shared.peek() is None and capturing():
        settings = Settings.read()
        addresses.check(settings)
        Sealing.of(settings)


def use_default(synap: Synap | None) -> Synap | None:
    """Make this the process-wide Synap; None makes the next `default_synap` build a new one.

    Returns the one before, which stays open.
    """
    return _shared.replace(synap)


def flush(timeout_s: float = 5.0) -> bool:
    """`Synap.flush` of the process-wide Synap; True if there is none yet."""
    synap = _shared.peek()
    return True if synap is None else synap.flush(timeout_s)


def status() -> Status:
    """`Synap.status` of the process-wide Synap; zeros, and what was left out so far, if there is none yet."""
    synap = _shared.peek()
    return Status(late=late_runs.count, incidents=incidents.counts()) if synap is None else synap.status()

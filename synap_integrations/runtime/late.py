"""Runs that were not recorded because the turn they belong to was over: left out on purpose, and counted."""

from __future__ import annotations

import logging
import threading
from typing import Final

from synap_integrations import after_fork

_log: Final = logging.getLogger(__name__)


class LateRuns:
    """How many there were in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock, and none of them were here."""
        self._lock, self._count = threading.Lock(), 0

    def note(self, framework: str) -> None:
        """One more. The first one is explained at level DEBUG: in most programs this is what they want."""
        with self._lock:
            self._count += 1
            first = self._count == 1
        if first:
            _log.debug(
                "synap: a run of %s began after its turn had ended and says of nobody whose it is, so it is work of "
                "that turn and not recorded; name a conversation or a user in it, or start it in an empty "
                "contextvars.Context(). status().late counts such runs",
                framework,
            )

    @property
    def count(self) -> int:
        """So far."""
        return self._count


late_runs: Final = LateRuns()


def note_late_run(framework: str) -> None:
    """A run was not recorded because its turn was over."""
    late_runs.note(framework)

"""The outbox in memory, for ``SYNAP_STORAGE_PATH=:memory:``: same order, same caps, same counters, no file."""

from __future__ import annotations

import time
from collections.abc import Callable

from .sqlite import SqliteOutbox


class EphemeralOutbox(SqliteOutbox):
    """Waiting envelopes that die with the process."""

    def __init__(
        self,
        *,
        max_rows: int = 200_000,
        max_bytes: int = 256_000_000,
        strict_order: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(None, max_rows=max_rows, max_bytes=max_bytes, strict_order=strict_order, clock=clock)

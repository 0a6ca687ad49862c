"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: any time between nothing and a limit that doubles with each failure, in seconds.

    The whole range, so that a thousand clients that lost the same platform do not come back together.
    """

    first_s: float = 0.5
    longest_s: float = 30.0

    def wait_s(self, failures: int, *, at_least_s: float | None = None) -> float:
        """How long to wait after so many failures in a row; ``at_least_s`` is what the platform asked for."""
        limit = min(self.longest_s, self.first_s * 2.0 ** min(failures, 32))
        waited = random.uniform(0, limit)  # noqa: S311 - jitter, not a secret
        return waited if at_least_s is None else at_least_s + waited

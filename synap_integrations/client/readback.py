"""Whether a turn in doubt has arrived: asked of what this process knows, and of what it has inherited."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from synap_integrations.errors import OutcomeUnknownError, SynapError
from synap_integrations.model import Envelope, Scope
from synap_integrations.wire.report import Report

from .confirmed import Arrival, Confirmed
from .inherited import Inherited

_log = logging.getLogger(__name__)
_UNKNOWN: Final = "its answer was lost, and the conversation cannot be read back"


class Readback:
    """Used on one event loop. ``holds_unknown``: what nobody can tell is not to be sent again."""

    def __init__(
        self, confirmed: Confirmed, inherited: Inherited, *, holds_unknown: bool, dedupe_horizon_s: float
    ) -> None:
        self._confirmed = confirmed
        self._inherited = inherited
        self._holds_unknown = holds_unknown
        self._dedupe_horizon = timedelta(seconds=dedupe_horizon_s)

    def is_old(self, envelope: Envelope) -> bool:
        """True if the platform may have forgotten the id under which an earlier process wrote it on a stream."""
        earlier = envelope.earlier
        return earlier is not None and datetime.now(UTC) - earlier.since > self._dedupe_horizon

    async def has_arrived(self, envelope: Envelope, scope: Scope, report: Report) -> bool:
        """Whether a turn in doubt is there. Raises: OutcomeUnknownError, or what keeps the platform from saying, if
        such a turn is to be held; else it is sent again.
        """
        event_id = envelope.event_id
        try:
            arrival = await self._inherited.holds(envelope, scope, confirmed=self._confirmed.end(scope))
            if arrival is Arrival.ABSENT:
                arrival = await self._confirmed.holds(event_id, scope, role=report.role, content=report.content)
        except SynapError as error:
            if self._holds_unknown and error.retryable:
                raise
            _log.info("synap: a turn in doubt could not be read back (%s)", error.code)
            arrival = Arrival.UNKNOWN
        if arrival is Arrival.UNKNOWN and self._holds_unknown:
            raise OutcomeUnknownError(_UNKNOWN)
        return arrival is Arrival.ARRIVED

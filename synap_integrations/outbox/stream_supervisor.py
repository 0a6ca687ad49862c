"""The stream's opening and reopening, in the background: a stream that is down never stops what goes another way."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from synap_integrations.errors import ListeningAlreadyActiveError, SynapError
from synap_integrations.model import Inbound, Signal
from synap_integrations.ports import Transport

from .calls import outcome_of
from .pace import backoff_s, hurried_s
from .verdicts import Do, judge

_log = logging.getLogger(__name__)

_OPEN_S: Final = 10.0
"""Longest wait for a stream to open; what needs it is kept aside afterwards."""
_COMES_BACK_S: Final = 60.0
"""Time that a transport has to reconnect by itself, before it is opened again."""
_STEADY_S: Final = 5.0


class StreamSupervisor:
    """Whether the stream is up. ``on_change`` hears when that has been decided, one way or the other."""

    def __init__(
        self,
        transport: Transport,
        on_inbound: Callable[[Inbound], None],
        on_change: Callable[[], None],
        *,
        rng: random.Random,
    ) -> None:
        self._transport = transport
        self._on_inbound = on_inbound
        self._on_change = on_change
        self._rng = rng
        self._changed = asyncio.Event()
        self._known = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = False
        self.up = False
        self.streams = 0
        """How many there have been."""
        self.undecided = True
        """True while it may be up in a moment: what needs it should wait and not be kept aside."""

    @property
    def new(self) -> bool:
        """True until the first attempt has succeeded or failed."""
        return not self._known.is_set()

    async def decided(self) -> bool:
        """Whether it is up, once that is known for the first time."""
        await self._known.wait()
        return self.up

    def hear(self, signal: Signal) -> None:
        """What the transport says about its connection."""
        if signal.kind == "connected":
            self._set(up=True)
        elif signal.kind == "disconnected":
            self._lost()

    def ended(self) -> None:
        """A send found that there is no stream, although it should be up."""
        if self.up:
            self._ended = True
            self._lost()

    def expedite(self) -> None:
        """Somebody waits for delivery: try now, or soon after a refusal, unless the platform asked for a pause."""
        self._hurry.set()

    def _lost(self) -> None:
        self.up, self.undecided = False, True
        self._changed.set()

    def _set(self, *, up: bool) -> None:
        self.streams += up and not self.up
        self.up, self.undecided = up, False
        self._known.set()
        self._changed.set()
        self._on_change()

    async def keep(self) -> None:
        """Open the stream, and open it again whenever it has ended. Returns only by cancellation."""
        now = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = now()
            error = await outcome_of(self._transport.open(self._on_inbound), within_s=_OPEN_S)
            if error is None or isinstance(error, ListeningAlreadyActiveError):
                # Already active: it is on its way back; or it was open before we came, and nothing is said about it.
                self._set(up=error is None or self.up or self.undecided)
                await self._until_ended()
                failures = 0 if now() - began > _STEADY_S else failures + 1
            else:
                failures += 1
                self._set(up=False)
                if failures == 1:
                    _log.info("synap: the stream cannot be opened (%s); turns go on without it", error.code)
            if failures:
                await self._pause(error, failures)

    async def _pause(self, error: SynapError | None, failures: int) -> None:
        """As long as the error asks for, or the backoff says; somebody in a hurry ends what need not be."""
        verdict = None if error is None else judge(error)
        asked_s = verdict.wait_s if verdict else 0.0
        wait_s = max(asked_s, backoff_s(failures, self._rng))
        least_s = hurried_s(failures) if verdict and verdict.do is Do.SUSPEND else asked_s
        await asyncio.sleep(min(least_s, wait_s))
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s - least_s):
                await self._hurry.wait()

    async def _until_ended(self) -> None:
        """While it is up, or may come back by itself."""
        self._ended = False
        while not self._ended:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self.up else _OPEN_S if self.undecided else _COMES_BACK_S):
                    await self._changed.wait()
            except TimeoutError:
                if not self.undecided:
                    return
                self._set(up=False)

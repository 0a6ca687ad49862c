"""What a test has in its hands: a Synap of its own, what arrived there, and ways to make its life hard."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import datetime
from typing import Any, Final, Protocol

from synap_integrations import runtime
from synap_integrations.client import Backoff, Route, SynapClient
from synap_integrations.client.platform import Platform
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents
from synap_integrations.model import Context, Event, Scope, UserMessage
from synap_integrations.ports import Transport
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.records import Owner, PushedBundle
from synap_integrations.settings import Settings

from .clock import VirtualClock
from .faults import Faults
from .transcript import Transcript, transcript_of

SETTLE_S: Final = 10.0
_PATIENT_S: Final = 5.0
_CLOSE_S: Final = 2.0
_HURRY_S: Final = 0.05
_AT_ONCE: Final = Backoff(first_s=0.01, longest_s=0.05)
_MOST: Final = 1_000_000
_OURS: Final = "synap-"
_CLIENT_THREADS: Final = frozenset({"synap-delivery", "synap-mask"})


class Place(Protocol):
    """Where a test's Synap is."""

    local: LocalSynap
    settings: Settings
    faults: Faults
    environment: dict[str, str]

    def platform(self, *, inline: bool) -> Platform | None:
        """The way to it for one client; None is the way that the settings name."""
        ...

    def still_open(self) -> list[str]:
        """What somebody has left open, in sentences."""
        ...

    def strangers(self) -> list[str]:
        """Who else has knocked, in sentences."""
        ...

    def close(self) -> None:
        """Let go of it."""


class RehearsedSynap(runtime.Synap):
    """A Synap whose time is the test's, and in which nothing is left to chance while nothing is wrong.

    The first turn waits for the stream, each turn for what the one before it causes, and a recall knows everything that
    was recorded before it.
    """

    def __init__(self, place: Place, clock: VirtualClock, settings: Settings) -> None:
        super().__init__(settings=settings)
        self._place = place
        self._now = clock
        self._begun = False

    def record(
        self,
        event: Event,
        *,
        scope: Scope,
        occurred_at: datetime | None = None,
        event_id: str | None = None,
        framework: str | None = None,
    ) -> None:
        """As always, at the time of the test's clock."""
        if isinstance(event, UserMessage) and runtime.capturing():
            self._calm()
        moment = occurred_at or self._now()
        super().record(event, scope=scope, occurred_at=moment, event_id=event_id, framework=framework)

    def recall(self, query: str | None, *, scope: Scope, timeout_s: float | None = None) -> Context:
        """As always; patient while nothing is wrong."""
        self._calm()
        return super().recall(query, scope=scope, timeout_s=self._patience(timeout_s))

    async def arecall(self, query: str | None, *, scope: Scope, timeout_s: float | None = None) -> Context:
        """As always; patient while nothing is wrong."""
        await asyncio.to_thread(self._calm)
        return await super().arecall(query, scope=scope, timeout_s=self._patience(timeout_s))

    def _calm(self) -> None:
        """Wait until everything so far has had its effect."""
        if self._place.faults.any:
            return
        if not self._begun:
            self._begun = True
            self._worker.wake()
            self._listening.wait(_PATIENT_S)
        self.flush(SETTLE_S)
        self._place.local.pusher.drain(SETTLE_S)

    def _patience(self, timeout_s: float | None) -> float | None:
        return _PATIENT_S if timeout_s is None and not self._place.faults.any else timeout_s

    def _transport(self) -> Transport:
        client = SynapClient(
            settings=self.settings, inline=True, platform=self._place.platform(inline=True), backoff=_AT_ONCE
        )
        return Route(client, turns=self.settings.turns)


class Rig:
    """The Synap of one test. A `Memory` itself: hand it to what wants one; who wants none gets it, too.

    ``memory`` is the `Synap`, ``clock`` its time and its platform's, ``faults`` what goes wrong between the two.
    """

    def __init__(self, place: Place, clock: VirtualClock, **settings: Any) -> None:  # noqa: ANN401 - any setting
        self._place = place
        self._incidents = incidents.counts()
        self._threads = set(threading.enumerate())
        self.clock = clock
        self.faults = place.faults
        chosen = Settings.read({}, **settings)
        self.settings = place.settings.but(**{name: getattr(chosen, name) for name in settings})
        self.memory = RehearsedSynap(place, clock, self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to have in its environment to talk to the same Synap, where one can reach it."""
        return self._place.environment

    # --- as a memory -----------------------------------------------------------------------------------------

    def record(self, event: Event, *, scope: Scope) -> None:
        """`Synap.record`."""
        self.memory.record(event, scope=scope)

    def recall(self, query: str | None, *, scope: Scope) -> Context:
        """`Synap.recall`."""
        return self.memory.recall(query, scope=scope)

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        """`Synap.arecall`."""
        return await self.memory.arecall(query, scope=scope)

    def client(self) -> SynapClient:
        """A client of the same Synap: the platform's documented calls. Whoever asks for it closes it."""
        return SynapClient(settings=self.settings, platform=self._place.platform(inline=False), backoff=_AT_ONCE)

    # --- what happened ---------------------------------------------------------------------------------------

    def transcript(self, conversation: str, *, user_id: str | None = None) -> Transcript:
        """What has arrived of a conversation, named as the application names it: roles, texts, tool calls, in order.

        Waits for what is on its way, unless a fault keeps it there. Raises: InvalidInputError, if several users have a
        conversation of this name and ``user_id`` does not say whose is meant; AssertionError, as `settle`.
        """
        self.settle()
        engine = self._place.local.engine
        found = [(owner, name) for owner, name in engine.store.called(conversation) if user_id in {None, owner.user_id}]
        if len(found) > 1:
            message = f"{conversation!r} is a conversation of {_names(found)}: pass user_id"
            raise InvalidInputError(message, details={"argument": "user_id"})
        if not found:
            return Transcript(note=f"there is no conversation {conversation!r}; there is {self._known() or 'none'}")
        owner, name = found[0]
        return transcript_of(
            engine.store.turns(owner, name, limit=_MOST), engine.ledger.events(owner, name, limit=_MOST)
        )

    def pushed(self) -> list[PushedBundle]:
        """What the Synap has pushed so far, oldest first: why, for whom, which items, and whether a model saw them."""
        self.settle()
        return self._place.local.engine.ledger.bundles(None, limit=_MOST)[::-1]

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        """Wait until everything recorded has arrived and everything that it causes is pushed.

        Returns at once while a fault keeps things from arriving. Raises: AssertionError, if ``timeout_s`` was not
        enough.
        """
        if not self.faults.endless:
            assert self._delivered(timeout_s), f"not all was delivered in {timeout_s:g} s:\n{self.memory.status()}"
        assert self._place.local.pusher.drain(timeout_s), f"not all was pushed in {timeout_s:g} s"

    def assert_no_leak(self) -> None:
        """Everything captured has arrived, and nothing is left behind. Ends the test's Synap: call it last.

        Raises: AssertionError, naming all of it: what was not delivered, faults of ours that were contained, threads,
        tasks and streams that are still there, and senders of other tests.
        """
        self.faults.clear()
        wrong = [] if self._delivered(SETTLE_S) else [f"not everything arrived in {SETTLE_S:g} s"]
        if runtime.use_default(self.memory) is not self.memory:
            wrong.append("the test has replaced the process-wide Synap: what it captured is not looked at")
        self.memory.close(_CLOSE_S)
        wrong += self._unaccounted() + self._place.still_open() + self._left_behind() + self._place.strangers()
        assert not wrong, "\n".join(["the test left something behind:", *wrong])

    def close(self) -> None:
        """Let go of everything, whatever state it is in."""
        self.faults.clear()
        self.memory.close(_CLOSE_S)
        self._place.close()

    # --- looking ---------------------------------------------------------------------------------------------

    def _delivered(self, timeout_s: float) -> bool:
        """`Synap.flush`, asked again and again: each time ends the pauses that delivery makes after a failure."""
        deadline = time.monotonic() + timeout_s
        while not (delivered := self.memory.flush(_HURRY_S)) and time.monotonic() < deadline:
            continue
        return delivered

    def _unaccounted(self) -> list[str]:
        status = self.memory.status()
        wrong = []
        if status.captured + status.adopted != status.delivered + status.forgotten:
            wrong.append(
                f"captured {status.captured}, delivered {status.delivered}: {status.waiting} waiting, "
                f"{status.refused} refused, {status.dead_letters} dead letters"
            )
        faults = incidents.counts()
        new = [cause for cause, count in faults.items() if count > self._incidents.get(cause, 0)]
        return wrong + [f"a fault of the package was contained: {cause}" for cause in new]

    def _left_behind(self) -> list[str]:
        threads = [thread for thread in threading.enumerate() if thread not in self._threads]
        names = [thread.name for thread in threads if thread.name in _CLIENT_THREADS]
        return [f"a thread still runs: {name}" for name in names] + [f"a task still runs: {name}" for name in _tasks()]

    def _known(self) -> str:
        engine = self._place.local.engine
        with engine.database.read() as db:
            rows = db.execute(
                "SELECT coalesce(own_name, conversation_id), user_id FROM owned_conversation ORDER BY id LIMIT 10"
            ).fetchall()
        return ", ".join(f"{name!r} of {user_id!r}" for name, user_id in rows)


def _names(found: list[tuple[Owner, str]]) -> str:
    return " and ".join(repr(owner.user_id) for owner, _ in found)


def _tasks() -> list[str]:
    """Our tasks on the running event loop, if there is one."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return []
    return [task.get_name() for task in tasks if task.get_name().startswith(_OURS)]

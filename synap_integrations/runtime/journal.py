"""Conversations used as journals: lines of text that are added to, read in their order, searched and erased.

For what an application keeps on purpose and has to find again word for word. Unlike `Synap.record` it waits for the
platform and raises what the platform refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from synap_integrations.errors import ContextNotFoundError, InvalidInputError, ServiceUnavailableError
from synap_integrations.model import Scope
from synap_integrations.redaction import Redaction
from synap_integrations.settings import Settings

if TYPE_CHECKING:
    from synap_integrations.client import SynapClient

    from .synap import Synap

_log = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE: Final = 500
_MOST_FOUND: Final = 200
_CLOSE_S: Final = 5.0
_ENDING: Final = "the interpreter is ending, and starts no thread any more: nothing was done"
_CLOSED: Final = "the store was closed while it worked: whether it was done is not known"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a journal. ``position`` grows; it has gaps where lines were erased."""

    position: int
    line_id: str
    text: str


@dataclass(frozen=True, slots=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread


class Journals:
    """The journals of one platform: `wait` and `await_` may be used on any thread and loop, the rest inside of them.

    They lie where the turns of ``synap`` lie, and its mask sees their words; without one, the environment says both.
    The first use starts a thread with a loop and one client; a forked child starts its own.
    """

    def __init__(self, synap: Synap | None = None) -> None:
        self._settings = Settings.read() if synap is None else synap.settings
        self._redaction = Redaction.of(self._settings, None) if synap is None else synap.redaction
        self._reset()

    def _reset(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._running: _Running | None = None
        self._clients: dict[asyncio.AbstractEventLoop, SynapClient] = {}

    # --- from anywhere -----------------------------------------------------------------------------------------------

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns, or raises; the calling thread waits. Raises: ServiceUnavailableError, once closed."""
        try:
            return self._started(work).result()
        except CancelledError:
            raise ServiceUnavailableError(_CLOSED) from None

    async def await_(self, work: Coroutine[Any, Any, T]) -> T:
        """`wait` that does not block the event loop."""
        try:
            return await asyncio.wrap_future(self._started(work))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise ServiceUnavailableError(_CLOSED) from None

    def close(self) -> None:
        """Let go of thread, sockets and file; whoever waits is told so. Idempotent; the next use starts them again."""
        with self._lock:
            running, self._running = self._running, None
        if running is None or self._pid != os.getpid():
            return
        # Behind all that was started before: what is started is also ended.
        running.loop.call_soon_threadsafe(running.stop.set)
        running.thread.join(_CLOSE_S)

    def _started(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._pid != os.getpid():
            self._reset()
        with self._lock:
            if self._running is None:
                try:
                    self._running = self._start()
                except ServiceUnavailableError:
                    work.close()
                    raise
            return asyncio.run_coroutine_threadsafe(work, self._running.loop)

    def _start(self) -> _Running:
        loop, stop = asyncio.new_event_loop(), asyncio.Event()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._until(stop))

        thread = threading.Thread(target=run, name="synap-store", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            loop.close()
            raise ServiceUnavailableError(_ENDING) from None
        return _Running(loop, stop, thread)

    async def _until(self, stop: asyncio.Event) -> None:
        """Work until then; what is under way is cancelled first, so that nothing of it needs the client any more."""
        await stop.wait()
        working = asyncio.all_tasks() - {asyncio.current_task()}
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def masked(self, value: dict[str, Any]) -> dict[str, Any]:
        """Data for a line, as it may leave this process. Raises: InvalidInputError, if the mask fails."""
        return self._redaction.data(value)

    @property
    def _platform(self) -> SynapClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            from synap_integrations.client import SynapClient  # noqa: PLC0415 - not before there is something to do

            # The embedded Synap answers on this thread, which has nothing else to do; others may be asked again.
            self._clients[loop] = SynapClient(settings=self._settings, inline=self._settings.embedded)
        return self._clients[loop]

    async def add(self, lines: Sequence[tuple[Scope, str]]) -> None:
        """Add lines to journals, in order.

        Raises: InvalidInputError, if the platform takes one of them not; a `SynapError`, if it cannot be told whether
        they are there: adding them again does no harm to whoever reads the last of equal lines.
        """
        entries = [
            {
                "conversation_id": journal.conversation_id,
                "user_id": journal.user_id,
                "customer_id": journal.customer_id,
                "role": "assistant",  # nobody's words about themselves
                "content": text,
            }
            for journal, text in lines
        ]
        answer = await self._platform.conversation.record_messages(entries)
        if answer["failed"] or answer["succeeded"] < len(entries):
            reason = next((error.get("detail") for error in answer["errors"]), None) or "no reason was given"
            message = (
                f"the platform did not store {len(entries) - answer['succeeded']} of {len(entries)} lines: {reason}"
            )
            raise InvalidInputError(message)

    async def read(self, journal: Scope, *, after: int) -> list[Line]:
        """The lines behind this position, in order; none, if there is no such journal."""
        found: list[Line] = []
        while True:
            start = (found[-1].position if found else after) + 1
            try:
                turns = await self._platform.conversation.turns(
                    journal.conversation_id or "",
                    user_id=journal.user_id,
                    customer_id=journal.customer_id,
                    start=start,
                    limit=_PAGE,
                )
            except ContextNotFoundError:
                return found
            found += [Line(turn.position or 0, turn.message_id or "", turn.content or "") for turn in turns]
            if len(turns) < _PAGE:
                return found
            if found[-1].position < start:
                message = "the platform lists turns without their positions: items cannot be read from it"
                raise ServiceUnavailableError(message)

    async def ranked(self, journal: Scope, query: str, *, limit: int) -> dict[str, float]:
        """Line ids by how well they answer the query, best first; at most ``limit``, and never more than 200.

        Raises: InvalidInputError, if the mask fails.
        """
        if not (query := self._redaction.data(query)):
            return {}
        # The client knows whose conversation it is from the lines that were read before; naming nobody asks for
        # what was said in it and for nothing else of theirs.
        found = await self._platform.fetch(
            journal.conversation_id,
            search_query=query,
            max_results=min(limit, _MOST_FOUND),
            include_conversation_context=False,
            response_shape="ranked",
        )
        scores: dict[str, float] = {}
        for item in found.items:
            metadata = item.get("metadata")
            named = metadata.get("message_id") if isinstance(metadata, dict) else None
            scores.setdefault(str(named or item.get("id") or ""), float(item.get("rank_score") or 0.0))
        return scores

    async def erase(self, line_ids: Sequence[str]) -> None:
        """Have the platform forget these lines; one that cannot forget single turns, as the cloud, keeps them."""
        if line_ids:
            done = await self._platform.memories.delete_all(line_ids)
            if done.failed_ids:
                _log.info("synap: the platform keeps %d lines that were to be erased", len(done.failed_ids))

"""The event loop of delivery, which works to its end where no thread can be had any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

from synap_integrations import thread_starts

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class DeliveryLoop(asyncio.SelectorEventLoop):
    """Resolves names, and asks a Synap in this process, on threads; by itself where none can be started.

    Nothing but delivery waits for this loop, and what the end of the process may take is bounded.

    Source: CPython 3.11 to 3.13, Lib/asyncio/base_events.py
    """

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As asyncio has it. What an executor is given that cannot start a thread stays in its queue."""
        if thread_starts.possible():
            return super().run_in_executor(executor, func, *args)

        async def here() -> T:
            return func(*args)

        return self.create_task(here())

    async def shutdown_default_executor(self, *timeout: Any) -> None:  # noqa: ANN401 - none before Python 3.12
        """As asyncio has it, which starts a thread that waits for the others. Without one, nothing waits for them."""
        if thread_starts.possible():
            await super().shutdown_default_executor(*timeout)

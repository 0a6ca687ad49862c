"""Time that passes when a test says so: a clock moved by hand, and an event loop that never sleeps."""

import asyncio
import selectors


class ManualClock:
    """A monotonic clock. Call it to read it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class _Hasty(selectors.SelectSelector):
    """Instead of waiting for a timeout, moves the loop's clock to its end."""

    loop: "VirtualLoop"

    def select(self, timeout=None):
        """What is ready now; if nothing is, it is later already."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.loop.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose hour takes milliseconds. Read its clock with ``time``."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Hasty()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now


def in_virtual_time(main):
    """Run ``main(loop)``, a coroutine function, to its end."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.run_until_complete(_cancel_what_is_left())
        loop.close()


async def _cancel_what_is_left() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)

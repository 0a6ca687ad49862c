"""A platform that does what a test says, behind the `Transport` protocol."""

import asyncio
from collections.abc import Callable, Iterator

from synap_integrations.errors import ListeningNotActiveError
from synap_integrations.model import Ack, Envelope, Inbound, Signal, UserMessage
from synap_integrations.ports import Handover

Fate = Exception | Handover | None
"""What a send does: raises, hands over, or (None) never answers."""


class ScriptedTransport:
    """Takes everything, unless told otherwise.

    ``script(envelope)`` is asked for the fate of each send; ``stream`` says whether the stream can be opened: an error
    to raise, or None. Events other than user messages need the stream if ``needs_stream`` is set.
    """

    def __init__(
        self,
        script: Callable[[Envelope], Fate] = lambda _: Handover.DELIVERED,
        *,
        stream: BaseException | None = None,
        needs_stream: bool = False,
        takes_s: float = 0.0,
    ) -> None:
        self.script = script
        self.stream = stream
        self.needs_stream = needs_stream
        self.takes_s = takes_s
        self.attempts: list[tuple[float, Envelope]] = []
        self.received: list[Envelope] = []
        self.opened = self.closed = 0
        self.most_at_once = self.under_way = 0
        self.hear: Callable[[Inbound], None] = lambda _: None

    async def open(self, on_inbound: Callable[[Inbound], None]) -> None:
        """Connect, or raise what ``stream`` says."""
        self.opened += 1
        self.hear = on_inbound
        if self.stream is not None:
            raise self.stream
        on_inbound(Signal("connected"))

    async def send(self, envelope: Envelope) -> Handover:
        """Do what the script says."""
        self.attempts.append((asyncio.get_running_loop().time(), envelope))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(self.takes_s)
            if self.needs_stream and self.stream is not None and not isinstance(envelope.event, UserMessage):
                raise ListeningNotActiveError("no stream")
            fate = self.script(envelope)
            if fate is None:
                await asyncio.Event().wait()
            if isinstance(fate, Exception):
                raise fate
            self.received.append(envelope)
            return fate
        finally:
            self.under_way -= 1

    async def close(self, timeout_s: float) -> None:
        """Count it."""
        self.closed += 1

    def acknowledge(self, *envelopes: Envelope) -> None:
        """Say that these arrived."""
        self.hear(Ack(tuple(envelope.event_id for envelope in envelopes)))


def texts(envelopes: list[Envelope]) -> list[str]:
    """What was said, for short assertions."""
    return [getattr(envelope.event, "content", type(envelope.event).__name__) for envelope in envelopes]


def first_then(fates: Iterator[Fate] | list[Fate], then: Fate = Handover.DELIVERED) -> Callable[[Envelope], Fate]:
    """These fates one after the other, and then always the same."""
    left = iter(fates)
    return lambda _: next(left, then)

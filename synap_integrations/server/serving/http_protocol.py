"""HTTP/1.1 with patience that ends: uvicorn waits for ever for a head, or for the rest of a body that it answered.

Source: uvicorn 0.54, protocols/http/h11_impl.py: which timers there are (keep-alive only), and what a bad request does.
"""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar, Final, Self

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from synap_integrations.server.rest.answers import refusal

from .limits import DEFAULT, Limits

_GRACE_S: Final = 1.0
"""Time for an answer that says why."""


class PatientProtocol(H11Protocol):
    """One connection. Closed when a head takes too long, or a body."""

    limits: ClassVar[Limits] = DEFAULT
    _timer: asyncio.TimerHandle | None = None
    _phase: float | None = None

    @classmethod
    def with_limits(cls, limits: Limits) -> type[Self]:
        """The protocol with other limits."""
        return type(cls.__name__, (cls,), {"limits": limits})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Somebody is there; now they must say something."""
        super().connection_made(transport)
        self._within(self.limits.head_s)

    def data_received(self, data: bytes) -> None:
        """Some bytes. Time goes on from the first one of a head, not from the last one so far."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer is out, perhaps before the request was complete."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._within(None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is under way already."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = json.dumps(refusal("INVALID_INPUT", msg)).encode()
            length = ("content-length", str(len(body)))
            headers = [("content-type", "application/json"), length, ("connection", "close")]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self._within(self.limits.request_s + _GRACE_S)
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._within(self.limits.head_s)
        else:
            self._within(None)

    def _within(self, seconds: float | None) -> None:
        """Close the connection in this time, counted from when this was first said."""
        if seconds == self._phase:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._phase = seconds
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.close)

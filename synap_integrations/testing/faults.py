"""What goes wrong between a test and its Synap, as data: what stands in between asks here, and does it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from synap_integrations.errors import InvalidInputError
from synap_integrations.wire.proto import StreamResponse

_INTRODUCTIONS: Final = ("/whoami", "/health", "/telemetry/batch")
_LOOK_S: Final = 0.05


class Faults:
    """Off at first; each stays on until it is used up, until `clear`, or until the test ends. Thread-safe.

    ``down`` and ``up`` take the platform away and bring it back, ``drop`` ends the streams that are open.
    """

    def __init__(self, *, down: Callable[[], None], up: Callable[[], None], drop: Callable[[], None]) -> None:
        self._down, self._up, self._drop = down, up, drop
        self._lock = threading.Lock()
        self.delay_s = 0.0
        """Seconds that every answer and every push comes late."""
        self.refuses = self.loses_answers = self.repeats_acks = False
        self._status = 200
        self._left: float = 0

    # --- for the test ----------------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Nobody is there: connections are refused, and open streams end."""
        if not self.refuses:
            self.refuses = True
            self._down()

    def delay(self, seconds: float) -> None:
        """Every answer, acknowledgement and push comes so much later. Raises: InvalidInputError for less than 0."""
        if seconds < 0:
            message = f"an answer cannot come {-seconds:g} s early: delay by 0 or more"
            raise InvalidInputError(message)
        self.delay_s = seconds

    def status(self, code: int, *, times: int | None = None) -> None:
        """The next ``times`` REST calls are answered with this status and do nothing; None is all of them.

        Introductions, health and telemetry are answered as usual and do not count. Delivery tries again at once
        after a 5xx and a second later after a 429. A 401, 402 or 403 holds it for five minutes, or until a flush a
        second later; after a 400 or 422 there is a dead letter.

        Raises: InvalidInputError, if that is not the status of an error.
        """
        if not (isinstance(code, int) and 400 <= code <= 599):
            message = f"{code!r} is not the status of an error: pass 400 to 599"
            raise InvalidInputError(message)
        with self._lock:
            self._status, self._left = code, math.inf if times is None else times

    def drop_stream(self) -> None:
        """End every stream that is open, as a network does; the client may come back at once."""
        self._drop()

    def never_ack(self) -> None:
        """What is sent arrives and is kept, but nobody hears so: no acknowledgements, and no answers to writes."""
        self.loses_answers = True

    def duplicate_acks(self) -> None:
        """Every acknowledgement of the stream comes twice."""
        self.repeats_acks = True

    def clear(self) -> None:
        """All is well again. Streams on which something was late or lost end; when they are back it is sent again."""
        with self._lock:
            self._left = 0
        unheard = self.loses_answers or self.delay_s > 0
        self.delay_s = 0.0
        self.loses_answers = self.repeats_acks = False
        if unheard:
            self._drop()
        if self.refuses:
            self.refuses = False
            self._up()

    @property
    def any(self) -> bool:
        """True while something is wrong."""
        return bool(self.endless or self._left or self.delay_s or self.repeats_acks)

    @property
    def endless(self) -> bool:
        """True while nothing that is recorded can be delivered."""
        return self.refuses or self.loses_answers or math.isinf(self._left)

    # --- for what stands in between --------------------------------------------------------------------------

    async def meet(self, path: str) -> int | None:
        """Take as long as an answer takes. The status to answer instead of doing anything; None if all is well."""
        if path.endswith(_INTRODUCTIONS):
            return None
        due = time.monotonic() + self.delay_s
        while self.delay_s and (left := due - time.monotonic()) > 0:  # noqa: ASYNC110 - `clear` comes from any thread
            await asyncio.sleep(min(left, _LOOK_S))
        with self._lock:
            if self._left <= 0:
                return None
            self._left -= 1
            return self._status

    def swallows(self, method: str, path: str) -> bool:
        """True if the answer to this call is lost."""
        return self.loses_answers and method != "GET" and not path.endswith(_INTRODUCTIONS)

    def heard(self, message: bytes) -> list[bytes]:
        """What a client hears when the platform says this on the stream."""
        if not (self.loses_answers or self.repeats_acks):
            return [message]
        if StreamResponse.FromString(message).WhichOneof("payload") != "event_ack":
            return [message]
        return [] if self.loses_answers else [message, message]


def refused(status: int) -> dict[str, object]:
    """The body of an answer with this status, in the platform's form."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "made for a test"
    said = f"{phrase}: faults.status({status})"
    return {"error": said, "detail": said, "code": phrase.upper().replace(" ", "_"), "details": {}}

"""Sends REST calls: one deadline over everything, repeats only where they do no harm, no key in what is raised."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final, TypeVar

import httpx
import pydantic

from synap_integrations.errors import (
    NetworkError,
    NetworkTimeoutError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
)
from synap_integrations.secret import Secret
from synap_integrations.wire.faults import rest_fault

from .calls import Call
from .retry import Backoff
from .trust import refused

A = TypeVar("A", bound=pydantic.BaseModel)

MAX_ANSWER_BYTES: Final = 16_000_000
"""Most bytes of one answer that are read, after decompression."""


class Bearer(httpx.Auth):
    """Puts the key on each request at the last moment, so that it is in no variable of ours."""

    def __init__(self, key: Secret | None) -> None:
        self._key = key

    async def async_auth_flow(self, request: httpx.Request) -> AsyncIterator[httpx.Request]:  # type: ignore[override] # httpx wants a generator, and this is one
        """One request, one answer."""
        if self._key is not None:
            request.headers["authorization"] = f"Bearer {self._key.reveal()}"
        yield request


class Rest:
    """Sends `Call`s over one HTTP client. Bound to the event loop that uses it first.

    ``timeout_s`` covers a call from its first byte to its last, all attempts together.
    """

    def __init__(
        self, http: httpx.AsyncClient, *, introduction: Mapping[str, str], timeout_s: float, attempts: int
    ) -> None:
        self._http = http
        self._introduction = introduction
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._backoff = Backoff(longest_s=10.0)

    async def send(self, call: Call[A]) -> A:
        """The answer. Raises the `SynapError` that the answer, or its absence, stands for."""
        correlation_id = f"syn_{time.time_ns() // 1_000_000}_{secrets.token_hex(3)}"
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        failures = 0
        while True:
            outcome = await self._attempt(call, correlation_id, deadline)
            if not isinstance(outcome, SynapError):
                return outcome
            failures += 1
            wait_s = self._backoff.wait_s(failures, at_least_s=getattr(outcome, "retry_after", None))
            if failures >= self._attempts or not _may_repeat(call, outcome) or _now() + wait_s > deadline:
                # Raised here and not where it was caught: the frames of the HTTP library hold the key.
                raise outcome
            await asyncio.sleep(wait_s)

    async def _attempt(self, call: Call[A], correlation_id: str, deadline: float) -> A | SynapError:
        request = self._http.build_request(
            call.method,
            call.target,
            content=call.content(),
            headers={
                "content-type": "application/json",
                "x-correlation-id": correlation_id,
                **self._introduction,
                **call.headers,
            },
        )
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _bounded(response)
                finally:
                    await response.aclose()
            if response.is_success:
                return call.read(body, content_type=response.headers.get("content-type", ""))
            return rest_fault(response.status_code, response.headers, body, correlation_id=correlation_id)
        except SynapError as error:
            error.correlation_id = correlation_id
            return error.with_traceback(None)
        except (TimeoutError, httpx.TimeoutException) as error:
            reached = not isinstance(error, httpx.ConnectTimeout)
            message = (
                f"{call.path} was not answered in time" if reached else "the platform could not be reached in time"
            )
            return NetworkTimeoutError(message, details={"sent": reached}, correlation_id=correlation_id)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if (fault := refused(str(error), str(self._http.base_url))) is not None:
                fault.correlation_id = correlation_id
                return fault
            reached = not isinstance(error, httpx.ConnectError | httpx.ProxyError)
            where = str(self._http.base_url).rstrip("/")
            message = (
                f"{call.path}: the connection failed ({type(error).__name__})"
                if reached
                else f"{where} cannot be reached; is it running?"
            )
            return NetworkError(message, details={"sent": reached}, correlation_id=correlation_id)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()
        await asyncio.sleep(0)  # a transport lets go of its socket in the loop's next round


def _may_repeat(call: Call[A], error: SynapError) -> bool:
    """True if trying again can help and cannot do twice what was to be done once."""
    if not error.retryable:
        return False
    refused = isinstance(error, RateLimitError) or (
        isinstance(error, ServiceUnavailableError) and error.details.get("status") in {409, 425, 503}
    )
    return call.repeatable or refused or error.details.get("sent") is False


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            message = f"the answer is larger than {MAX_ANSWER_BYTES} bytes"
            raise ServiceUnavailableError(message)
    return bytes(body)


def _now() -> float:
    return asyncio.get_running_loop().time()

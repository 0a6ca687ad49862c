"""A call to the transport ends in time, and in one of two ways: with its result, or with a `SynapError`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from synap_integrations.errors import NetworkError, NetworkTimeoutError, SynapError, SynapTransientError
from synap_integrations.guard import contained

_DELIVER: Final = contained("deliver")

T = TypeVar("T")


class TransportFaultError(SynapTransientError):
    """Something that is no `SynapError` came out of the transport; it was counted as an incident."""

    code = "fault"


async def outcome_of(call: Awaitable[T], *, within_s: float) -> T | SynapError:
    """The result, or the error as a value. Only the cancellation of the calling task is raised."""
    with _DELIVER:
        try:
            async with asyncio.timeout(within_s):
                return await call
        except SynapError as error:
            return error
        except TimeoutError:
            return NetworkTimeoutError("the platform did not answer in time")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A transport may raise the same error for reasons of its own, such as a channel that closes.
            return NetworkError("the transport gave up the call")
    return TransportFaultError("the transport failed")

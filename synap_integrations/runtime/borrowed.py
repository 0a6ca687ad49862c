"""A Synap over the platform's own SDK object, for programs that hold one already."""

from __future__ import annotations

import threading
from typing import Final

from synap_integrations.errors import InvalidInputError
from synap_integrations.ports import Memory

from .synap import Synap

_lock: Final = threading.Lock()
_over: Final[dict[int, Synap]] = {}
"""By the state that the SDK's objects for one key share; each Synap keeps its object alive, and with it the number."""


def memory_over(sdk: object | None) -> Memory | None:
    """What ``sdk=`` means: None is the process-wide Synap of the moment (None), a `Memory` is itself, and around the
    platform's SDK object there is one Synap for the life of the process.

    The SDK object may be new or initialized; its calls are made on the delivery thread's loop.

    Raises: InvalidInputError, if it is none of these.
    """
    if sdk is None or isinstance(sdk, Memory):
        return sdk
    if not all(hasattr(sdk, name) for name in ("conversation", "instance", "fetch")):
        message = f"sdk must be the platform's SDK object or a Synap, not {type(sdk).__name__}"
        raise InvalidInputError(message, details={"argument": "sdk"})
    with _lock:
        key = id(vars(sdk)) if hasattr(sdk, "__dict__") else id(sdk)
        if key not in _over:
            # The SDK says nowhere in public which key it was made with; without it, its turns would lie in the outbox
            # of the embedded Synap.
            api_key = getattr(sdk, "_api_key", None)
            _over[key] = Synap(sdk, api_key=api_key if isinstance(api_key, str) and api_key else None)
        return _over[key]

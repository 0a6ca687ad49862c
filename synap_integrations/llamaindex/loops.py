"""What code may do that is called on an event loop and cannot wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")


def in_a_loop() -> bool:
    """True if this thread runs an event loop now."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - the documented one raises where there is none


def at_once(asking: Coroutine[Any, Any, _T]) -> _T | None:
    """What is answered without waiting, None if it takes longer."""
    try:
        asking.send(None)
    except StopIteration as answered:
        return cast("_T", answered.value)
    asking.close()
    return None

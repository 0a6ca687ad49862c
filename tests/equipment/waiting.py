"""Waiting for something to happen, instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(happened: Callable[[], T], *, what: str = "it to happen", within_s: float = 30.0) -> T:
    """Returns what ``happened`` returns as soon as that is true; fails if it is not in time."""
    end = time.monotonic() + within_s
    while not (found := happened()):
        assert time.monotonic() < end, f"waited {within_s} s in vain for {what}"
        time.sleep(0.01)
    return found

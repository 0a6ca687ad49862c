"""What commands that serve pages have in common: the packages they need, their log, and how they end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from synap_integrations.errors import InvalidInputError

_PACKAGES: Final = frozenset({"starlette", "uvicorn", "h11", "anyio", "jinja2"})
_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def server_packages() -> Iterator[None]:
    """Around imports that need the extra ``[server]``. Raises: InvalidInputError, if a package of it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        message = f"the package {error.name} is missing: run pip install 'synap-integrations[server]'"
        raise InvalidInputError(message) from None


def hush_uvicorn() -> None:
    """What a client sent that is no HTTP is the client's affair; it has its answer."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def when_told(do: Callable[[int], object]) -> None:
    """Have this called with the signal, when the running loop's process is asked to end."""
    for number in _ENDINGS:
        asyncio.get_running_loop().add_signal_handler(number, do, number)


def told_to_end() -> asyncio.Event:
    """An event that is set when the process is asked to end."""
    told = asyncio.Event()
    when_told(lambda _: told.set())
    return told

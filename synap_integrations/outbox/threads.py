"""Whether a thread of ours would be a thread.

gevent and eventlet put coroutines in the place of threads. Delivery in one of them would run its event loop, and the
blocking poller of grpc, in the thread of the application, which would stand still and could run no loop of its own.

Source: gevent 26.9.0, monkey/api.py, is_module_patched; eventlet 0.40, patcher.py, is_monkey_patched; grpcio 1.76,
_cython/_cygrpc/aio/completion_queue.pyx.pxi, PollerCompletionQueue
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)
_ASKED: Final = (
    ("gevent", "gevent.monkey", "is_module_patched", "threading"),
    ("eventlet", "eventlet.patcher", "is_monkey_patched", "thread"),
)
_SENTENCE: Final = (
    "this process delivers nothing, because %s has replaced its threads: what is captured waits on disk for another"
    " process or `synap outbox flush`; workers with real threads (gunicorn -k gthread, celery -P threads) deliver by"
    " themselves"
)


def replaced_by() -> str:
    """The library that has replaced threads in this process; empty if they are threads."""
    for library, module, question, answer in _ASKED:
        loaded = sys.modules.get(module)
        if loaded is not None and getattr(loaded, question)(answer):
            return library
    return ""


class Refusal:
    """Says once in each process why nothing is delivered there."""

    def __init__(self) -> None:
        self.say: Callable[[str], object] = _log.warning
        """Where it is said; zero-code start-up says it on stderr."""
        self._said = False

    def __call__(self, library: str) -> None:
        """It is this library."""
        if not self._said:
            self._said = True
            self.say(_SENTENCE % library)


refusal: Final = Refusal()

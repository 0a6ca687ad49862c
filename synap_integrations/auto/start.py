"""The first thing that runs in a program under `synap run`: it puts a watcher in place and is done.

Until the program imports a framework, nothing more of ours is loaded.
"""

from __future__ import annotations

import atexit
import os
import sys

from .islands import islands
from .run_options import HEADERS, SERVERS, Terms
from .startup_guard import say, untouched
from .watcher import ImportWatcher


class _Waiting:
    """What was begun and has not come to anything yet."""

    terms: Terms | None = None
    watcher: ImportWatcher | None = None


def begin(text: str) -> None:
    """Watch on these terms until the program imports a framework. Never raises."""
    with untouched("not captured"):
        if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
            return  # who runs the program is not who may decide what it does
        terms = Terms.read(text)
        if terms.drain:
            _drain_on_sigterm(terms.drain)
        triggers = [name for island in islands() for name in (island.trigger, island.inject_trigger) if name]
        if terms.identify == HEADERS:
            triggers += SERVERS
        _Waiting.terms = terms
        _Waiting.watcher = ImportWatcher({name: [_wake] for name in triggers})
        _Waiting.watcher.install()
        if not terms.follow:
            atexit.register(_name_what_was_missed, os.getpid())


def _drain_on_sigterm(seconds: str) -> None:
    """Before the program puts handlers of its own in place, which know best what comes before the end.

    A value that is no number is named when the settings are read.
    """
    from synap_integrations.sigterm import sigterm  # noqa: PLC0415 - only who asks for it pays for it

    try:
        sigterm.install(float(seconds))
    except ValueError:
        return


def _name_what_was_missed(pid: int) -> None:
    """One line for a program that captured nothing itself and has started other interpreters, which were not captured.

    Such as uvicorn or hypercorn with workers or a reloader. The modules are loaded where one is started, and only then.

    Source: Python 3.11, multiprocessing/context.py, SpawnProcess and ForkServerProcess
    """
    if pid != os.getpid():
        return  # a fork of it, which is the same program
    with untouched("not known whether children were missed"):
        ways = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
        if any(way in sys.modules for way in ways) and not _captured():
            say(
                "nothing was captured: this program talks in other Python processes that it starts;"
                " capture them with `synap run --follow-children`"
            )


def _captured() -> int:
    runtime = sys.modules.get("synap_integrations.runtime")
    return runtime.status().captured if runtime is not None else 0


def taken() -> Terms | None:
    """The terms, and no more watching: from here on it is the caller's. None if there is nothing to take."""
    terms, watcher = _Waiting.terms, _Waiting.watcher
    _Waiting.terms = _Waiting.watcher = None
    if watcher is not None:
        watcher.remove()
    return terms


def waiting() -> Terms | None:
    """What a program under `synap run` was asked for, until it imports a framework; None in any other program."""
    return _Waiting.terms


def _wake() -> None:
    with untouched("not captured"):
        from . import switch  # noqa: PLC0415 - from here on there is a framework to pay for

        switch.wake()

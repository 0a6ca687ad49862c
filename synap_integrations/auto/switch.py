"""``enable()`` and ``disable()``: capture, and context in prompts, for a process whose code knows nothing of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from synap_integrations import runtime, scoping
from synap_integrations.auto import start
from synap_integrations.auto.headers import headers_scope
from synap_integrations.auto.identity import finder
from synap_integrations.auto.islands import Island, islands
from synap_integrations.auto.limits import Limited
from synap_integrations.auto.run_options import HEADERS, Terms
from synap_integrations.auto.server_hooks import HOOKS
from synap_integrations.auto.startup_guard import say, untouched
from synap_integrations.auto.watcher import ImportWatcher
from synap_integrations.import_strings import named
from synap_integrations.model import Scope
from synap_integrations.outbox import threads
from synap_integrations.ports import Memory, checked_memory
from synap_integrations.settings import Settings

if TYPE_CHECKING:
    from synap_integrations.ports import Attach, Detach

Identify = str | Callable[[], Mapping[str, object] | Scope | None]
"""``"headers"``, ``"module:function"``, or the function: who is talking, in the code that asks."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be attached. Without a Synap it is the process-wide one of the moment."""

    synap: Memory | None
    inject: bool
    identify: Callable[[], Scope] | None
    hooks: bool


class _Switch:
    """What is attached to this process without a line in the application."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._wish: _Wish | None = None
        self._watcher: ImportWatcher | None = None
        self._attached: list[Detach] = []

    def turn(self, wish: _Wish | None) -> _Wish | None:
        """Let go of what is attached, and attach this; returns what was wished before."""
        with self._lock:
            begun = start.taken()
            before = self._wish or (_wish_of(begun) if begun is not None else None)
            self._let_go()
            self._wish = wish
            threads.refusal.say = say
            if wish is not None:
                scoping.identify_with(wish.identify)
                self._watcher = ImportWatcher(self._told(wish))
                self._watcher.install()
            return before

    def _let_go(self) -> None:
        if self._watcher is not None:
            self._watcher.remove()
            self._watcher = None
        scoping.identify_with(None)
        attached, self._attached = self._attached, []
        for detach in reversed(attached):
            with untouched("not detached"):
                detach()

    def _told(self, wish: _Wish) -> dict[str, list[Callable[[], None]]]:
        """What to do when which module is imported."""
        told: dict[str, list[Callable[[], None]]] = {}
        for island in islands():
            attach = partial(_attach, island, wish)
            told.setdefault(island.trigger, []).append(self._kept(attach, f"{island.name} is not captured"))
            if wish.inject and island.inject:
                inject = partial(_inject, island, wish)
                lost = f"no context in the prompts of {island.name}"
                told.setdefault(island.inject_trigger, []).append(self._kept(inject, lost))
        for module, hook in HOOKS.items() if wish.hooks else ():
            told.setdefault(module, []).append(self._kept(hook, f"the headers of {module} are not read"))
        return told

    def _kept(self, attach: Callable[[], Detach], lost: str) -> Callable[[], None]:
        """Attach and remember how to detach; if it fails, say what is lost."""

        def attaching() -> None:
            with untouched(lost):
                detach = attach()
                with self._lock:
                    self._attached.append(detach)

        return attaching


def _attach(island: Island, wish: _Wish) -> Detach:
    return cast("Attach", named(island.attach))(wish.synap)


def _inject(island: Island, wish: _Wish) -> Detach:
    return cast("Attach", named(island.inject))(Limited(wish.synap, Settings.read(), island.name))


_switch: Final = _Switch()


class Enabled:
    """What `enable` returns: usable as a context manager, at whose end everything is as it was before."""

    __slots__ = ("_before", "_on")

    def __init__(self, before: _Wish | None, *, on: bool) -> None:
        self._before = before
        self._on = on

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._on:
            self._on = False
            _switch.turn(self._before)


def enable(synap: Memory | None = None, *, inject: bool | None = None, identify: Identify | None = None) -> Enabled:
    """Record every turn of LangChain, LangGraph and LlamaIndex in this process, whenever they are imported.

    ``synap`` is where turns go, by default the process-wide `Synap`. ``inject`` puts context into the prompts of their
    models, by default if ``SYNAP_INJECT`` says so. ``identify`` says who is talking where the frameworks do not.
    Handlers, memories and middleware of ours that the application has go first. Calling it again replaces what was
    said before. With ``SYNAP_CAPTURE=0`` it does nothing.

    Raises: InvalidInputError, if an argument or a setting cannot be used. A framework that cannot be attached to, such
    as one of an unsupported version, costs one line on stderr.
    """
    memory = checked_memory(synap)
    settings = Settings.read()
    wish = _wish(memory, settings.inject if inject is None else inject, identify)
    if not runtime.capturing():
        return Enabled(None, on=False)
    return Enabled(_switch.turn(wish), on=True)


def disable() -> None:
    """Record nothing more without being asked to, and leave the frameworks as they were found. Idempotent."""
    _switch.turn(None)


def wake() -> None:
    """A program under `synap run` has imported a framework: do what was asked for.

    Raises: InvalidInputError, if a setting cannot be used.
    """
    terms = start.taken()
    if terms is not None and runtime.capturing():
        _switch.turn(_wish_of(terms))


def _wish_of(terms: Terms) -> _Wish:
    return _wish(None, terms.inject or Settings.read().inject, terms.identify)


def _wish(synap: Memory | None, inject: bool, identify: Identify | None) -> _Wish:
    if synap is None:
        runtime.check_settings()
    hooks = identify == HEADERS
    find = None if identify is None else headers_scope if hooks else finder(identify)
    return _Wish(synap, inject, find, hooks)

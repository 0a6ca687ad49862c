"""Put methods of ours over a framework's, where nobody hands us the object, and take them off again.

For what a framework offers no registry for. Everything an application could notice is kept: the name, the signature,
and, once the overlay is gone, the attribute itself.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from synap_integrations import after_fork
from synap_integrations.guard import contained

_ATTACH: Final = contained("attach")
_MISSING: Final = object()
_BORN: Final = "__pydantic_init_subclass__"


class Overlay:
    """Methods and functions over others. Thread-safe."""

    def __init__(self) -> None:
        self._lock = after_fork.Lock()
        self._replaced: list[tuple[weakref.ref[type | ModuleType], str, object]] = []

    def put(self, owner: type | ModuleType, name: str, method: Callable[..., Any]) -> None:
        """Lay ``method`` over this attribute; subclasses of a class that do not override it have it, too."""
        with self._lock:
            self._replaced.append((weakref.ref(owner), name, vars(owner).get(name, _MISSING)))
            inner = getattr(owner, name)
            setattr(owner, name, functools.wraps(inner)(method) if callable(inner) else method)

    def over_family(self, ancestor: type, cover: Callable[[type], None]) -> None:
        """Call ``cover`` for this pydantic class, for its subclasses, and for those that are made later.

        Source: pydantic 2.7 to 2.14, main.py, BaseModel.__pydantic_init_subclass__
        """
        inherited = getattr(ancestor, _BORN).__func__

        def born(cls: type, /, **named: Any) -> None:  # noqa: ANN401 - any class's keyword arguments
            inherited(cls, **named)
            with _ATTACH:
                # A class that we cannot cover is the application's all the same.
                cover(cls)

        with self._lock:
            self._replaced.append((weakref.ref(ancestor), _BORN, vars(ancestor).get(_BORN, _MISSING)))
            setattr(ancestor, _BORN, classmethod(born))
            for one in family(ancestor):
                cover(one)

    def remove(self) -> None:
        """Leave everything as it was found. Idempotent."""
        with self._lock:
            replaced, self._replaced = self._replaced, []
            for reference, name, before in reversed(replaced):
                owner = reference()
                if owner is None:
                    continue
                if before is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)


def family(ancestor: type) -> list[type]:
    """The class and all that descend from it, each once, ancestors first."""
    found = dict.fromkeys([ancestor])
    waiting = [ancestor]
    while waiting:
        children: list[type] = type.__subclasses__(waiting.pop(0))
        for child in children:
            if child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)

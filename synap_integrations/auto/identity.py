"""Who is talking, according to a function of the application's: ``--identify module:function``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from synap_integrations import scoping
from synap_integrations.auto.startup_guard import say
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained
from synap_integrations.import_strings import is_name, named
from synap_integrations.model import Scope

_Found = Mapping[str, object] | Scope | None
_DOOR = contained("identify")


def finder(identify: str | Callable[[], _Found]) -> Callable[[], Scope]:
    """A function that asks this one, never raises, and takes what it does not understand for nothing.

    One that is named is imported when it is first needed: by then the application has set up its path. If it fails,
    that is said once, on stderr.

    Raises: InvalidInputError, if it is neither a function nor the name of one.
    """
    if isinstance(identify, str):
        checked_name(identify)
    elif not callable(identify):
        message = f"identify must be a function or 'module:function', not a {type(identify).__name__}"
        raise InvalidInputError(message, details={"argument": "identify"})
    return _Finder(identify)


class _Finder:
    def __init__(self, identify: str | Callable[[], _Found]) -> None:
        self._identify = identify
        self._said = False

    def __call__(self) -> Scope:
        answered = False
        with _DOOR:
            found = self._asked()
            answered = True
            if isinstance(found, Scope):
                return scoping.checked(found)
            if isinstance(found, Mapping):
                return scoping.from_mapping(found)
        if not answered and not self._said:
            self._said = True
            say(f"nobody is identified by {self._identify}: it cannot be imported, or raises")
        return scoping.NOWHERE

    def _asked(self) -> _Found:
        if isinstance(self._identify, str):
            self._identify = cast("Callable[[], _Found]", named(self._identify))
        return self._identify()


def checked_name(name: str) -> str:
    """The same name. Raises: InvalidInputError, if it does not have the form ``module:function``."""
    if not is_name(name):
        message = f"identify: {name!r} is neither 'headers' nor of the form module:function"
        raise InvalidInputError(message, details={"argument": "identify"})
    return name

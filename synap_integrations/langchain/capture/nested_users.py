"""Is a run inside another one somebody else's?

A captured run may call runs for several people: a nightly job over all users, an endpoint that is a chain itself. What
such an inner run says of itself is compared with the turn it would be part of. Pure, and cheap where nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from synap_integrations import scoping
from synap_integrations.model import Scope
from synap_integrations.scoping import NOWHERE

_NAMES: Final = tuple(dict.fromkeys(name for names in scoping.KEYS.values() for name in names))
_NO_VALUES: Final[Sequence[object]] = [None] * len(_NAMES)


class Surroundings(NamedTuple):
    """What surrounded a turn when it began: an inner run that has the same around it says nothing new.

    ``values`` are those of its metadata that may identify, ``metadata`` is what they say; ``configurable`` what that
    of its config says, None until code inside has shown it.
    """

    ambient: Scope = NOWHERE
    values: Sequence[object] = _NO_VALUES
    metadata: Scope = NOWHERE
    configurable: Scope | None = None

    @classmethod
    def here(cls, metadata: Mapping[str, object]) -> Surroundings:
        """Those of a run that starts here with this metadata."""
        return cls(scoping.ambient(), _values(metadata), scoping.from_mapping(metadata) if metadata else NOWHERE)

    def unchanged(self, metadata: Mapping[str, object]) -> bool:
        """True if a run that starts here with this metadata has nothing else around it."""
        ambient = scoping.ambient()
        return (ambient is self.ambient or ambient is NOWHERE) and _values(metadata) == self.values

    def news(self, near: Scope, metadata: Scope, configurable: Scope) -> Scope:
        """What is said here and was not said there; ``near`` goes first.

        LangChain hands metadata down, and LangGraph does not replace there what an inner ``configurable`` says.
        """
        before = self.configurable
        inner = NOWHERE if before is None else scoping.said_anew(configurable, before)
        return scoping.merged(near, scoping.said_anew(metadata, self.metadata), inner)


class Turn(NamedTuple):
    """A turn as seen by what runs inside it or after it: whose it is, and what that was read from."""

    scope: Scope = NOWHERE
    surroundings: Surroundings = Surroundings()

    def of_its_own(self, news: Scope, *, in_tool: bool, nameless: bool) -> Scope | None:
        """`scoping.of_its_own` for a run inside this turn, or after it."""
        return scoping.of_its_own(news, self.scope, in_tool=in_tool, nameless=nameless)


def _values(metadata: Mapping[str, object]) -> Sequence[object]:
    return [*map(metadata.get, _NAMES)] if metadata else _NO_VALUES

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
        inner = NOWHERE if before is None else _without(configurable, before)
        return scoping.merged(near, _without(metadata, self.metadata), inner)


class Turn(NamedTuple):
    """A turn as seen by what runs inside it or after it: whose it is, and what that was read from."""

    scope: Scope = NOWHERE
    surroundings: Surroundings = Surroundings()

    def of_its_own(self, news: Scope, *, in_tool: bool, nameless: bool) -> Scope | None:
        """The scope of a run that says this, if it is no part of this turn; None if it is.

        Another user or customer always is somebody else. Another conversation is, where nobody is named, so that it
        stands for a person, and where the turn has none of its own (``nameless``). For the same user it is how
        sub-agents keep their state; and what a tool runs for the same user is the tool's.

        Of this turn such a run has the people it does not name, and never the conversation.
        """
        ours = self.scope
        elsewhere = _differ(news.conversation_id, ours.conversation_id)
        other_people = _differ(news.user_id, ours.user_id) or _differ(news.customer_id, ours.customer_id)
        if not other_people and (in_tool or not elsewhere or not (nameless or ours.user_id is None)):
            return None
        return Scope(
            news.conversation_id if elsewhere else None,
            news.user_id or ours.user_id,
            customer_id=news.customer_id or ours.customer_id,
            session_id=news.session_id if elsewhere else None,
        )


def _differ(value: str | None, other: str | None) -> bool:
    return value is not None and value != other


def _without(said: Scope, before: Scope) -> Scope:
    """What is said anew."""
    if said is NOWHERE or said == before:
        return NOWHERE
    return Scope(
        _unless(said.conversation_id, before.conversation_id),
        _unless(said.user_id, before.user_id),
        customer_id=_unless(said.customer_id, before.customer_id),
        session_id=_unless(said.session_id, before.session_id),
    )


def _unless(value: str | None, before: str | None) -> str | None:
    return None if value == before else value


def _values(metadata: Mapping[str, object]) -> Sequence[object]:
    return [*map(metadata.get, _NAMES)] if metadata else _NO_VALUES

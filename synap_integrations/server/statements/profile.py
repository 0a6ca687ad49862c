"""A user's profile: what they said about themselves, by what it is about. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from synap_integrations.server.records import Statement


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a user as a person. ``attributes`` has, by what it is about, what holds now, newest first."""

    attributes: Mapping[str, tuple[Statement, ...]]

    @property
    def overview(self) -> str:
        """The user's own sentences, one to a line."""
        return "\n".join(statement.content for about in self.attributes.values() for statement in about)


def profile_of(statements: Iterable[Statement]) -> Profile | None:
    """The profile that facts and preferences make, None if there are none; events are no part of it."""
    attributes: dict[str, tuple[Statement, ...]] = {}
    for statement in statements:
        if statement.kind != "temporal_events":
            attributes[statement.slot] = (*attributes.get(statement.slot, ()), statement)
    return Profile(attributes) if attributes else None

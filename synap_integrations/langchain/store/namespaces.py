"""Whose memory a namespace is in, and which namespaces a listing means. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from langgraph.store.base import MatchCondition

from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Scope
from synap_integrations.scoping import checked

from .entries import Namespace

APPLICATION: Final = "langgraph-store"
"""The user whose memory holds what belongs to no user, and the list of namespaces."""
OWNERS: Final = (
    ("customers", "{customer_id}", "users", "{user_id}"),
    ("users", "{user_id}"),
    ("memories", "{user_id}"),
    ("{user_id}", "memories"),
)
"""Beginnings of namespaces that name somebody, in order of preference."""
_FIELD: Final = re.compile(r"\{(user_id|customer_id)\}")
_MOST_CHARS: Final = 400


def checked_owners(owners: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The patterns, if they can be used. Raises: InvalidInputError."""
    for pattern in owners:
        if isinstance(pattern, str) or not all(isinstance(label, str) for label in pattern):
            message = 'owners holds patterns such as ("users", "{user_id}")'
            raise InvalidInputError(message, details={"argument": "owners"})
        if "{user_id}" not in pattern:
            message = f"owners: {tuple(pattern)} does not say where the user is: put '{{user_id}}' in its place"
            raise InvalidInputError(message, details={"argument": "owners"})
    return tuple(tuple(pattern) for pattern in owners)


def journal_of(namespace: Namespace, owners: Sequence[Namespace], *, nobody: Scope) -> Scope:
    """Whose memory the namespace is in, and in which conversation of theirs; ``nobody`` is for those that name nobody.

    Raises: InvalidInputError, if it names somebody by an id that cannot be one.
    """
    named = next((found for pattern in owners if (found := _named(pattern, namespace)) is not None), {})
    return checked(
        Scope(
            f"{APPLICATION}:{_short(namespace)}",
            named.get("user_id", nobody.user_id),
            customer_id=named.get("customer_id", nobody.customer_id),
        )
    )


def directory(nobody: Scope) -> Scope:
    """Where the namespaces are listed."""
    return replace(nobody, conversation_id=f"{APPLICATION}:namespaces")


def _named(pattern: Namespace, namespace: Namespace) -> dict[str, str] | None:
    """Who is named where the pattern says so; None if the namespace does not begin like it."""
    if len(namespace) < len(pattern):
        return None
    found: dict[str, str] = {}
    for expected, label in zip(pattern, namespace, strict=False):
        if (of := _FIELD.fullmatch(expected)) is not None:
            found[of[1]] = label
        elif expected != label:
            return None
    return found


def _short(namespace: Namespace) -> str:
    """The namespace as the name of a conversation, which has no room for very long ones."""
    name = json.dumps(namespace)
    return name if len(name) <= _MOST_CHARS else f"#{blake2b(name.encode(), digest_size=32).hexdigest()}"


def listed(namespace: Namespace, conditions: Sequence[MatchCondition]) -> bool:
    """True if the namespace meets all conditions; ``*`` stands for any one label."""
    return all(_meets(namespace, condition) for condition in conditions)


def _meets(namespace: Namespace, condition: MatchCondition) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    if condition.match_type == "prefix":
        part = namespace[: len(path)]
    elif condition.match_type == "suffix":
        part = namespace[len(namespace) - len(path) :]
    else:
        message = f"match_type must be prefix or suffix, not {condition.match_type!r}"
        raise InvalidInputError(message, details={"argument": "match_conditions"})
    return all(expected in {"*", label} for expected, label in zip(path, part, strict=True))

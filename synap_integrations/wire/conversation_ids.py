"""The platform wants UUIDs for conversations; applications have names of their own."""

from __future__ import annotations

import json
import re
import uuid
from collections import OrderedDict
from typing import Final, TypeVar

from synap_integrations.model import Scope

_K = TypeVar("_K")
_V = TypeVar("_V")

NAMESPACE: Final = uuid.UUID("7c1f8f0e-2a55-5c0e-9f0b-5a9d0a6e51d7")
"""Never changes: the platform's ids of all conversations with a name of their own derive from it."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def platform_id(conversation_id: str, *, user_id: str | None, customer_id: str | None) -> str:
    """The platform's id for a conversation: a UUID passes through, any other name becomes a stable UUIDv5.

    Tenant and user are part of the name, so that "support" of one user is not "support" of another.
    """
    if _UUID.fullmatch(conversation_id):
        return conversation_id
    # JSON, because joined ids could be split in more than one way.
    return str(uuid.uuid5(NAMESPACE, json.dumps([customer_id, user_id, conversation_id])))


class ConversationIds:
    """Remembers which conversation the platform's id stands for, and whose: the last ``limit`` that were used."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._owners: OrderedDict[tuple[str, str | None, str | None], Scope] = OrderedDict()
        self._names: OrderedDict[str, str] = OrderedDict()

    def to_platform(self, conversation_id: str, *, user_id: str | None, customer_id: str | None) -> str:
        """`platform_id`, remembered for the way back."""
        found = platform_id(conversation_id, user_id=user_id, customer_id=customer_id)
        scope = Scope(conversation_id, user_id, customer_id=customer_id)
        self._remember(self._owners, (found, user_id, customer_id), scope)
        self._remember(self._names, found, conversation_id)
        return found

    def _remember(self, latest: OrderedDict[_K, _V], key: _K, value: _V) -> None:
        latest[key] = value
        latest.move_to_end(key)
        if len(latest) > self._limit:
            latest.popitem(last=False)

    def to_caller(self, platform_id: str) -> str:
        """The caller's name for the platform's id; the same id, if it is the caller's own or forgotten."""
        return self._names.get(platform_id, platform_id)

    def known(self, conversation_id: str, *, user_id: str | None = None, customer_id: str | None = None) -> list[Scope]:
        """Every use of this name so far that agrees with what is given, with its owner, oldest first."""
        return [
            owner
            for owner in self._owners.values()
            if owner.conversation_id == conversation_id
            and user_id in {None, owner.user_id}
            and customer_id in {None, owner.customer_id}
        ]

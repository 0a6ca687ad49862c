"""The platform wants UUIDs for conversations; applications have names of their own."""

from __future__ import annotations

import json
import re
import uuid
from collections import OrderedDict
from typing import Final

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
    """Remembers which conversation the platform's id stands for: the last ``limit`` that were used."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._callers: OrderedDict[str, str] = OrderedDict()

    def to_platform(self, conversation_id: str, *, user_id: str | None, customer_id: str | None) -> str:
        """`platform_id`, remembered for the way back."""
        found = platform_id(conversation_id, user_id=user_id, customer_id=customer_id)
        if found != conversation_id:
            self._callers[found] = conversation_id
            self._callers.move_to_end(found)
            if len(self._callers) > self._limit:
                self._callers.popitem(last=False)
        return found

    def to_caller(self, platform_id: str) -> str:
        """The caller's name for the platform's id; the same id, if it is the caller's own or forgotten."""
        return self._callers.get(platform_id, platform_id)

    def used_for(self, conversation_id: str) -> list[str]:
        """Every platform's id under which this conversation was used, oldest first."""
        if _UUID.fullmatch(conversation_id):
            return [conversation_id]
        return [found for found, caller in self._callers.items() if caller == conversation_id]

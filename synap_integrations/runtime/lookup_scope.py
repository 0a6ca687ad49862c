"""Whom a retriever or a tool asks, and what was said about whose memory it is when it was made."""

from __future__ import annotations

from typing import Self

from synap_integrations import scoping
from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Scope
from synap_integrations.ports import Lookup, Memory

from .borrowed import memory_over
from .process import default_synap


class Asker:
    """``synap`` is a `Synap`, the platform's SDK object, or None for the process-wide Synap of the moment.

    Copies of it are itself: a tool that is copied goes on asking the same Synap.

    Raises: InvalidInputError, if an id cannot be used, or what is given cannot be asked.
    """

    __slots__ = ("_lookup", "_memory", "stated")

    def __init__(
        self,
        synap: object | None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
    ) -> None:
        memory = memory_over(synap)
        if memory is not None and not isinstance(memory, Lookup):
            message = f"synap must have ask and aask: a {type(memory).__name__} cannot be searched"
            raise InvalidInputError(message, details={"argument": "synap"})
        self._memory = memory
        self._lookup = memory
        # The platform's own packages say "" for no customer.
        self.stated = scoping.checked(
            Scope(conversation_id or None, user_id, customer_id=customer_id or None, session_id=session_id)
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @property
    def memory(self) -> Memory | None:
        """What was given."""
        return self._memory

    @property
    def recorder(self) -> Memory:
        """Where events go: what was given, or the process-wide Synap of the moment."""
        return self._memory if self._memory is not None else default_synap()

    @property
    def lookup(self) -> Lookup:
        """What was given, or the process-wide Synap of the moment."""
        return self._lookup if self._lookup is not None else default_synap()

"""The conversation so far as one text for a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, cast, get_args

from synap_integrations.errors import InvalidInputError
from synap_integrations.model import RecentTurn
from synap_integrations.ports import Answer, ReadConversation

from .searching import conversation_block

Style = Literal["structured", "narrative", "bullet_points"]
_ON_ERROR: Final = ("fallback", "raise")


@dataclass(frozen=True, slots=True)
class ShortTerm:
    """In which style the conversation is told, and whether a platform that does not answer is an error."""

    question: ReadConversation
    raises: bool

    @classmethod
    def checked(cls, *, style: str, on_error: str) -> Self:
        """As applications write it.

        Raises: InvalidInputError, naming the argument and what it accepts.
        """
        for name, value, choices in (("style", style, get_args(Style)), ("on_error", on_error, _ON_ERROR)):
            if value not in choices:
                message = f"{name} must be one of {', '.join(choices)}, not {value!r}"
                raise InvalidInputError(message, details={"argument": name})
        return cls(ReadConversation(cast("Style", style)), on_error == "raise")

    def told(self, answer: Answer) -> str:
        """The conversation as a block that its content cannot leave, ``""`` if there is none.

        Raises: SynapError, if the platform did not answer and that was asked for.
        """
        if answer.fault is not None and self.raises:
            raise answer.fault
        return conversation_block(answer)


def said_before(told: Sequence[RecentTurn], here: Sequence[tuple[str, str]]) -> Sequence[RecentTurn]:
    """Of the turns that the platform tells of, those before the ones that are here, given as (role, content): where the
    last ones told are the first ones here, they are the same.
    """
    there = [(turn.role, turn.content) for turn in told]
    return told[: next((at for at in range(len(there)) if list(here[: len(there) - at]) == there[at:]), len(there))]


def above(system: str, block: str, opening: str | None, closing: str | None) -> str:
    """The application's own words below the block; ``opening`` and ``closing`` frame the block where both are given."""
    if block and opening and closing:
        block = f"{opening}\n{block}\n{closing}"
    return "\n\n".join(part for part in (block, system.strip()) if part)

"""The conversation so far as one text for a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Self, TypedDict, cast, get_args

from synap_integrations.errors import InvalidInputError
from synap_integrations.model import RecentTurn, Scope
from synap_integrations.ports import Answer, Beginnings, ReadConversation

from .lookup_scope import Asker
from .search_options import conversation_block

Style = Literal["structured", "narrative", "bullet_points"]
_ON_ERROR: Final = ("fallback", "raise")
STYLE: Final = "narrative"
ON_ERROR: Final = "fallback"


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

    def told(self, answer: Answer, memory: object, scope: Scope) -> str:
        """The conversation as a block that its content cannot leave, ``""`` if there is none. Of one that was
        begun anew, the turns since then: the platform's own text tells of all.

        Raises: SynapError, if the platform did not answer and that was asked for.
        """
        if answer.fault is not None and self.raises:
            raise answer.fault
        since = said_since(answer.turns, memory, scope)
        if isinstance(memory, Beginnings) and memory.begun_at(scope) is not None:
            answer = replace(answer, text="\n".join(f"{turn.role}: {turn.content}" for turn in since))
        return conversation_block(answer)


def said_since(told: Sequence[RecentTurn], memory: object, scope: Scope) -> Sequence[RecentTurn]:
    """Of the turns that the platform tells of, those since the conversation was begun anew; all, if it never was."""
    since = memory.begun_at(scope) if isinstance(memory, Beginnings) else None
    return told if since is None else [turn for turn in told if turn.said_at is not None and turn.said_at > since]


class MessageTerms(TypedDict, total=False):
    """What a system message of the conversation so far may be told by name."""

    system: str
    """The application's own words, which stand below it."""
    style: str
    preamble_open: str | None
    preamble_close: str | None
    """Frame the conversation, where both are given."""
    on_error: str
    user_id: str | None
    customer_id: str | None
    synap: object | None


class ShortTermMessage:
    """The conversation so far above an application's own system prompt. Raises: InvalidInputError, when it is made."""

    def __init__(self, sdk: object | None, conversation_id: str | None, terms: MessageTerms) -> None:
        unknown = terms.keys() - MessageTerms.__annotations__.keys()
        if unknown:
            message = f"unknown keywords {', '.join(sorted(unknown))}: use {', '.join(MessageTerms.__annotations__)}"
            raise TypeError(message)
        self._asker = Asker(
            sdk if terms.get("synap") is None else terms.get("synap"),
            conversation_id=conversation_id,
            user_id=terms.get("user_id"),
            customer_id=terms.get("customer_id"),
        )
        self._terms = ShortTerm.checked(style=terms.get("style", STYLE), on_error=terms.get("on_error", ON_ERROR))
        self._system = terms.get("system", "").strip()
        self._frame = terms.get("preamble_open"), terms.get("preamble_close")

    async def text(self, scope_for: Callable[[Scope], Scope]) -> str:
        """As it is now, in the conversation that the surrounding code is in; ``""`` if there is nothing to say.

        Raises: SynapError, if the platform did not answer and that was asked for.
        """
        scope = scope_for(self._asker.stated)
        answer = await self._asker.lookup.aask(self._terms.question, scope=scope)
        block = self._terms.told(answer, self._asker.lookup, scope)
        opening, closing = self._frame
        if block and opening and closing:
            block = f"{opening}\n{block}\n{closing}"
        return "\n\n".join(part for part in (block, self._system) if part)

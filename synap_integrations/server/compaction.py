"""A long conversation cut short, without a model: an excerpt, word for word, that says that it is one.

It holds how the conversation began, what its user said about themselves in it, and how the part that is left out ended.
Only up to where it reaches is stored; the text is made when it is read, so that what is forgotten is in no excerpt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from synap_integrations.errors import ContextNotFoundError

from .engine import Engine
from .records import Owner, Statement, Turn, microseconds, moment

Strategy = Literal["aggressive", "balanced", "conservative", "adaptive"]
KEPT: Final[dict[Strategy, int]] = {"aggressive": 4, "balanced": 10, "conservative": 20, "adaptive": 10}
"""Newest turns that stay as they are."""
HEADING: Final = "## Conversation so far (compacted: an excerpt, word for word, made without a model)"
_ENDING: Final = 4
_LINE_CHARS: Final = 240
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…。！？])\s")  # noqa: RUF001 - full-width marks end sentences too
_LATEST: Final = """
    SELECT * FROM owned_compaction
    WHERE customer_id = ?1 AND user_id = ?2 AND conversation_id = ?3 AND (?4 IS NULL OR version = ?4)
    ORDER BY version DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """Up to which ``position`` a conversation is quoted in excerpts. ``version`` counts from 1."""

    compaction_id: str
    conversation_id: str
    position: int
    strategy: str
    target_tokens: int | None
    made_at: datetime
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """What is left of the first turns of a conversation. Tokens are estimated: four characters each."""

    text: str
    statements: tuple[Statement, ...]
    tokens_before: int

    @property
    def tokens(self) -> int:
        """About how long it is."""
        return tokens_of(self.text)

    @property
    def ratio(self) -> float:
        """Its length over that of the turns it stands for, 0..1."""
        return min(1.0, round(self.tokens / self.tokens_before, 4)) if self.tokens_before else 1.0


class Compactions:
    """Compactions of one `Engine`'s conversations. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def compact(
        self, owner: Owner, conversation_id: str, *, strategy: Strategy, target_tokens: int | None, force: bool
    ) -> Compaction | None:
        """Quote all but the newest turns in an excerpt from now on. None if the conversation is short and not forced.

        Raises: ContextNotFoundError, if there is no such conversation.
        """
        end = self._engine.store.extent(owner, conversation_id)
        if end is None:
            message = "there is no such conversation"
            raise ContextNotFoundError(message)
        position = end.position - KEPT[strategy]
        if position <= 0:
            if not force:
                return None
            position = max(end.position // 2, 1)
        with self._engine.database.write() as db:
            db.execute(
                "INSERT INTO compaction (conversation, compaction_id, position, strategy, target_tokens, made_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    end.conversation,
                    self._engine.new_id(),
                    position,
                    strategy,
                    target_tokens,
                    microseconds(self._engine.now()),
                ),
            )
        return self.latest(owner, conversation_id)

    def latest(self, owner: Owner, conversation_id: str, *, version: int | None = None) -> Compaction | None:
        """The newest compaction of the owner's conversation, or this version of it; None if there is none."""
        with self._engine.database.read() as db:
            row = db.execute(_LATEST, (*owner, conversation_id, version)).fetchone()
        return _compaction(row) if row else None

    def excerpt(self, owner: Owner, compaction: Compaction) -> Excerpt:
        """The excerpt that stands for the turns up to the compaction's position, as they are now."""
        conversation_id = compaction.conversation_id
        covered = self._engine.store.turns(owner, conversation_id, limit=compaction.position)
        covered = [turn for turn in covered if turn.position <= compaction.position]
        there = {turn.message_id for turn in covered}
        stated = [
            statement
            for statement in self._engine.known.known(
                owner, kinds=("facts", "preferences"), conversation_id=conversation_id
            )
            if there.issuperset(source.message_id for source in statement.sources)
        ]
        return Excerpt(
            text=excerpt_of(covered, stated, target_tokens=compaction.target_tokens),
            statements=tuple(stated),
            tokens_before=sum(tokens_of(turn.content) for turn in covered),
        )


def excerpt_of(turns: Sequence[Turn], statements: Sequence[Statement], *, target_tokens: int | None) -> str:
    """The excerpt as text; of at most ``target_tokens``, if they suffice for its heading."""
    if not turns:
        return HEADING
    opening, *rest = turns
    lines = [f"- It began, {_line(opening, _first_sentence(opening.content))}"]
    lines += [f"- The user said: {_cut(statement.content)}" for statement in statements]
    lines += [f"- {_line(turn, turn.content)}" for turn in rest[-_ENDING:]]
    left_out = len(rest) - len(rest[-_ENDING:])
    lines.insert(len(lines) - len(rest[-_ENDING:]), f"- [{left_out} turns are not quoted here]")
    text = HEADING
    for line in lines:
        longer = f"{text}\n{line}"
        if target_tokens is not None and tokens_of(longer) > target_tokens:
            break
        text = longer
    return text


def tokens_of(text: str) -> int:
    """About how many tokens a model counts in it."""
    return len(text) // 4 + 1


def _line(turn: Turn, said: str) -> str:
    return f"{turn.speaker or turn.role} ({turn.said_at:%Y-%m-%d %H:%M}): {_cut(said)}"


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(text, maxsplit=1)[0]


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LINE_CHARS else f"{text[:_LINE_CHARS]}…"


def _compaction(row: Sequence[Any]) -> Compaction:
    """The compaction in a row of ``owned_compaction``."""
    return Compaction(
        conversation_id=row[2],
        compaction_id=row[3],
        position=row[4],
        strategy=row[5],
        target_tokens=row[6],
        made_at=moment(row[7]),
        version=row[8],
    )

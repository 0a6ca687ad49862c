"""A question of the story and what came of it, put together from what was pushed and what the model received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from synap_integrations.model import Context, ContextItem

from .dialogue import Dialogue, Question
from .findings import Asked, Item, PromptLine
from .measure import bare

_BLOCK, _BLOCK_END = "[synap-context ", "[/synap-context "


def asked(  # noqa: PLR0913 - parts by name
    dialogue: Dialogue,
    question: Question,
    conversation_id: str,
    *,
    said: str,
    context: Context,
    prompt: Iterable[tuple[str, str]],
    answer: str,
) -> Asked:
    """All about one question; ``said`` is how it was put, ``prompt`` its messages as (role, text)."""
    texts = dialogue.turn_texts()
    answers = [texts[turn_id] for turn_id in question.evidence]
    return Asked(
        dialogue.user_name,
        conversation_id,
        said,
        _why(context),
        [_item(item, answers) for item in context.items],
        list(_prompt_lines(prompt, answers)),
        answer,
    )


def _why(context: Context) -> str:
    receipt = context.receipt
    if receipt is None:
        return context.source
    return f"{receipt.why or context.source}; {receipt.tokens} tokens; waited {receipt.waited_s * 1000:.1f} ms"


def _item(item: ContextItem, answers: Sequence[str]) -> Item:
    said_on = item.said_at.date().isoformat() if item.said_at else None
    return Item(item.text, item.score, said_on, [answer for answer in answers if answer in item.text])


def _prompt_lines(prompt: Iterable[tuple[str, str]], answers: Sequence[str]) -> Iterator[PromptLine]:
    telling = [bare(answer) for answer in answers]
    for role, text in prompt:
        inside = False
        for line in text.splitlines():
            inside = inside or line.startswith(_BLOCK)
            yield PromptLine(role, line, inside, inside and any(answer in bare(line) for answer in telling))
            inside = inside and not line.startswith(_BLOCK_END)

"""Which questions are put in LlamaIndex: those that what is recalled can answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from synap_integrations.model import ContextItem, Scope
from synap_integrations.ports import Memory

from .dialogue import CUSTOMER, Dialogue, Question
from .measure import bare

_MOST_TRIED: Final = 40
"""Each trial takes what a recall takes, some milliseconds."""


def known_questions(dialogue: Dialogue, memory: Memory, *asides: str) -> list[Question]:
    """For each aside, which is asked in the same breath, a question of its own whose whole evidence is recalled for
    both: in the best item, if there is such a question, because what is pushed for a turn is chosen more strictly than
    what is asked for. The next one in line, if none is found.

    The first question is left for last: the demo has shown it in LangChain. Nothing is recorded if ``memory`` records
    nothing.
    """
    answerable = [question for question in dialogue.questions if question.answer] or list(dialogue.questions)
    left = answerable[1:] + answerable[:1]
    chosen: list[Question] = []
    for aside in asides:
        chosen.append(_best_known(dialogue, memory, left[:_MOST_TRIED], aside))
        left = [question for question in left if question is not chosen[-1]] or left
    return chosen


def _best_known(dialogue: Dialogue, memory: Memory, tried: Sequence[Question], aside: str) -> Question:
    texts, known = dialogue.turn_texts(), tried[0]
    found = False
    for number, question in enumerate(tried):
        # A conversation for each trial: what was pushed for one question would be recalled for the next.
        scope = Scope(f"{dialogue.user_id}-might-ask-{number}", dialogue.user_id, customer_id=CUSTOMER)
        context = memory.recall(f"{question.text} {aside}", scope=scope)
        items = sorted(context.items, key=lambda item: item.score, reverse=True)
        evidence = [texts[turn_id] for turn_id in question.evidence]
        if _holds(items[:1], evidence):
            return question
        if not found and _holds(items, evidence):
            known, found = question, True
    return known


def _holds(items: Sequence[ContextItem], evidence: Sequence[str]) -> bool:
    told = bare(" ".join(item.text for item in items))
    return all(bare(text) in told for text in evidence)

"""How well the memory works: does it find the evidence, how fast, and does it ever tell the wrong person?"""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import Any, Final

from synap_integrations.client import SynapClient
from synap_integrations.errors import NetworkTimeoutError
from synap_integrations.model import new_id

from .dialogue import CUSTOMER, Dialogue, Question

RANKED: Final = 50
"""How many results a fetch asks for."""
_PUSH_S: Final = 10.0
_TELLING_CHARS: Final = 25
"""A turn shorter than this ("Thanks, Mel!") could be anybody's."""
_NOT_A_CHARACTER: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Recall:
    """How much of the evidence is found, as the average share of a question's evidence turns, and how fast, in ms.

    ``at_10``, ``at_25``: among the first results of a ranked search. ``pushed``: in the bundle that comes over the
    stream, which has at most five items; ``pushed_any`` counts the questions with at least one evidence turn in it.
    """

    questions: int
    at_10: float
    at_25: float
    search_p50_ms: float
    search_p99_ms: float
    pushed: float
    pushed_any: int
    push_p50_ms: float
    push_p99_ms: float


@dataclass(frozen=True, slots=True)
class Prompts:
    """What reached the model when each question was asked in a new conversation.

    ``own_turns`` and ``foreign_turns`` count turns, by whose they are, over all prompts: those of the users' own
    questions and those where one user asked the other one's. ``with_evidence`` of the ``own_questions`` had at least
    one evidence turn in their prompt.
    """

    checked: int
    own_questions: int
    with_evidence: int
    own_turns: int
    foreign_turns: int


async def recall_of(client: SynapClient, dialogues: Sequence[Dialogue], on_question: Callable[[], None]) -> Recall:
    """Ask the platform each user's questions, with all users in one database; clean counting.

    Each question is searched for and, as a request for context, answered over the stream. Nothing is recorded.
    Raises: NetworkTimeoutError, if no bundle comes.
    """
    bundles: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await client.instance.listen(on_context=bundles.put)
    found: list[tuple[float, float, float]] = []
    search_ms: list[float] = []
    push_ms: list[float] = []
    for dialogue in dialogues:
        texts = dialogue.turn_texts()
        for question in dialogue.questions:
            started = time.perf_counter()
            ranked = await _searched(client, dialogue.user_id, question.text)
            searched = time.perf_counter()
            pushed = await _pushed(client, bundles, dialogue.user_id, question.text)
            search_ms.append((searched - started) * 1000)
            push_ms.append((time.perf_counter() - searched) * 1000)
            held = [share_held(question, texts, contents) for contents in (ranked[:10], ranked[:25], pushed)]
            found.append((held[0], held[1], held[2]))
            on_question()
    at_10, at_25, in_bundle = zip(*found, strict=True)
    any_pushed = sum(share > 0 for share in in_bundle)
    search, push = _middle_and_tail(search_ms), _middle_and_tail(push_ms)
    return Recall(len(found), fmean(at_10), fmean(at_25), *search, fmean(in_bundle), any_pushed, *push)


async def _searched(client: SynapClient, user_id: str, question: str) -> list[str]:
    found = await client.fetch(
        user_id=user_id,
        customer_id=CUSTOMER,
        search_query=[question],
        max_results=RANKED,
        response_shape="ranked",
        include_conversation_context=False,
    )
    return [item["content"] for item in found.items]


async def _pushed(
    client: SynapClient, bundles: asyncio.Queue[dict[str, Any]], user_id: str, question: str
) -> list[str]:
    """The items of the bundle that answers a request for context."""
    event_id = new_id()
    await client.instance.send_message(
        "",
        event_type="context_request",
        conversation_id=f"{user_id}-wonders",
        user_id=user_id,
        customer_id=CUSTOMER,
        search_queries=[question],
        event_id=event_id,
    )
    try:
        async with asyncio.timeout(_PUSH_S):
            while (bundle := await bundles.get())["decision_id"] != event_id:
                pass  # how the user's last conversation went, pushed because a new one begins
    except TimeoutError:
        message = f"no bundle came within {_PUSH_S:g} s"
        raise NetworkTimeoutError(message) from None
    return [item["content"] for items in bundle["items_by_type"].values() for item in items]


def _middle_and_tail(times_ms: Sequence[float]) -> tuple[float, float]:
    hundredths = quantiles(times_ms, n=100, method="inclusive")
    return hundredths[49], hundredths[98]


def share_held(question: Question, texts: dict[str, str], contents: Iterable[str]) -> float:
    """The share of the question's evidence turns whose words stand in one of these texts."""
    held = list(contents)
    return fmean(any(texts[turn_id] in content for content in held) for turn_id in question.evidence)


def bare(text: str) -> str:
    """Letters and digits only, in lower case, HTML escapes resolved: no rendering hides a sentence from this."""
    return _NOT_A_CHARACTER.sub("", html.unescape(text)).lower()


class PromptTally:
    """Whose turns stand in the prompts? Adds them up; `prompts` gives the sums."""

    def __init__(self, dialogues: Sequence[Dialogue]) -> None:
        self._said = {
            dialogue.user_id: {turn_id: bare(text) for turn_id, text in dialogue.turn_texts().items()}
            for dialogue in dialogues
        }
        self._telling = {user_id: self._only_of(user_id) for user_id in self._said}
        self._checked = self._own_questions = self._with_evidence = self._own = self._foreign = 0

    def count(self, user_id: str, prompt: str, *, evidence: Question | None = None) -> None:
        """One prompt of this user; ``evidence`` is given if the question is about the user's own conversations."""
        text = bare(prompt)
        self._checked += 1
        for owner, turns in self._telling.items():
            found = sum(turn in text for turn in turns)
            if owner == user_id:
                self._own += found
            else:
                self._foreign += found
        if evidence:
            self._own_questions += 1
            self._with_evidence += share_held(evidence, self._said[user_id], [text]) > 0

    def prompts(self) -> Prompts:
        """The sums."""
        return Prompts(
            self._checked,
            self._own_questions,
            self._with_evidence,
            self._own,
            self._foreign,
        )

    def _only_of(self, user_id: str) -> set[str]:
        """The turns that only this user's conversations hold, and that are nobody else's by chance."""
        others = [text for owner, said in self._said.items() if owner != user_id for text in said.values()]
        return {
            text
            for text in self._said[user_id].values()
            if len(text) >= _TELLING_CHARS and not any(text in other for other in others)
        }

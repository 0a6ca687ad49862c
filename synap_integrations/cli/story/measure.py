"""How well the memory works: does it find the evidence, how fast, and does it ever tell the wrong person?"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import Final

from synap_integrations.client import SynapClient

from .dialogue import Dialogue, Question

RANKED: Final = 50
"""How many results a fetch asks for."""
_TELLING_CHARS: Final = 25
"""A turn shorter than this ("Thanks, Mel!") could be anybody's."""
_NOT_A_CHARACTER: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the evidence turns among the first 10 and 25 results, averaged over the questions; times in ms."""

    questions: int
    at_10: float
    at_25: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Prompts:
    """What reached the model when each question was asked in a new conversation.

    ``evidence`` is the average share of a question's evidence turns that stood in its prompt, ``any_evidence`` the
    number of questions with at least one. ``own_turns`` and ``foreign_turns`` count turns, by whose they are, over all
    prompts: those of the users' own questions and those where one user asked the other one's.
    """

    checked: int
    questions: int
    evidence: float
    any_evidence: int
    own_turns: int
    foreign_turns: int


async def ranked_recall(client: SynapClient, dialogues: Sequence[Dialogue], on_question: Callable[[], None]) -> Recall:
    """Ask the platform each user's questions, ranked, with all users in one database; clean counting."""
    at_10: list[float] = []
    at_25: list[float] = []
    times_ms: list[float] = []
    for dialogue in dialogues:
        texts = dialogue.turn_texts()
        for question in dialogue.questions:
            started = time.perf_counter()
            found = await client.fetch(
                user_id=dialogue.user_id,
                search_query=[question.text],
                max_results=RANKED,
                response_shape="ranked",
                include_conversation_context=False,
            )
            times_ms.append((time.perf_counter() - started) * 1000)
            contents = [item["content"] for item in found.items]
            at_10.append(share_held(question, texts, contents[:10]))
            at_25.append(share_held(question, texts, contents[:25]))
            on_question()
    hundredths = quantiles(times_ms, n=100, method="inclusive")
    return Recall(len(times_ms), fmean(at_10), fmean(at_25), hundredths[49], hundredths[98])


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
        self._shares: list[float] = []
        self._checked = self._own = self._foreign = 0

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
            self._shares.append(share_held(evidence, self._said[user_id], [text]))

    def prompts(self) -> Prompts:
        """The sums."""
        return Prompts(
            self._checked,
            len(self._shares),
            fmean(self._shares),
            sum(share > 0 for share in self._shares),
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

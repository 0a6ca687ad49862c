"""How well the memory works, in figures: does it find the evidence, how fast, and does it ever tell the wrong person?"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import Any, Final

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
            contents = [item["content"] for item in found["items"]]
            at_10.append(share_held(question, texts, contents[:10]))
            at_25.append(share_held(question, texts, contents[:25]))
            on_question()
    hundredths = quantiles(times_ms, n=100, method="inclusive")
    return Recall(len(times_ms), fmean(at_10), fmean(at_25), hundredths[49], hundredths[98])


def share_held(question: Question, texts: dict[str, str], contents: Iterable[str]) -> float:
    """The share of the question's evidence turns whose words stand in one of these texts."""
    held = list(contents)
    return fmean(any(texts[turn_id] in content for content in held) for turn_id in question.evidence)


class Telltale:
    """Whose turns stand in a prompt? Compares letters and digits only, so that no rendering hides one."""

    def __init__(self, dialogues: Sequence[Dialogue]) -> None:
        said = {dialogue.user_id: {bare(text) for text in dialogue.turn_texts().values()} for dialogue in dialogues}
        self._telling = {
            user_id: {
                text
                for text in texts
                if len(text) >= _TELLING_CHARS and not any(text in other for name, other in said.items() if name != user_id)
            }
            for user_id, texts in said.items()
        }

    def turns_of(self, user_id: str, prompt: str) -> int:
        """How many of this user's turns stand in the prompt."""
        return sum(text in prompt for text in self._telling[user_id])

    def turns_of_others(self, user_id: str, prompt: str) -> int:
        """How many turns of anybody else stand in the prompt."""
        return sum(self.turns_of(name, prompt) for name in self._telling if name != user_id)


def bare(text: str) -> str:
    """Letters and digits only, in lower case, HTML escapes resolved."""
    return _NOT_A_CHARACTER.sub("", html.unescape(text)).lower()


@dataclass(slots=True)
class PromptTally:
    """Adds up what the prompts held; ``prompts`` gives the sums."""

    telltale: Telltale
    checked: int = 0
    own_turns: int = 0
    foreign_turns: int = 0
    shares: list[float] | None = None

    def count(self, asker: Dialogue, prompt: str, evidence: Question | None = None) -> None:
        """One prompt of this user; ``evidence`` is given if the question is about the user's own conversations."""
        text = bare(prompt)
        self.checked += 1
        self.own_turns += self.telltale.turns_of(asker.user_id, text)
        self.foreign_turns += self.telltale.turns_of_others(asker.user_id, text)
        if evidence is not None:
            said = {turn_id: bare(words) for turn_id, words in asker.turn_texts().items()}
            self.shares = [*(self.shares or ()), share_held(evidence, said, [text])]

    def prompts(self) -> Prompts:
        """The sums."""
        shares: list[Any] = self.shares or [0.0]
        return Prompts(
            self.checked,
            len(shares),
            fmean(shares),
            sum(share > 0 for share in shares),
            self.own_turns,
            self.foreign_turns,
        )

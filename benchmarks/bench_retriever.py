"""How long a retriever takes: answered from pushed context, and by a local server over loopback with 10,000 turns."""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from measuring import Effort, Figure, Report, Spread

from synap_integrations import Scope, Synap
from synap_integrations.langchain import SynapRetriever
from synap_integrations.model import ContextBundle, ContextItem

PUSHED_MS = 0.3
SERVER_MS = 8.0
TURNS = 10_000
BATCH = 500
SCOPE = Scope(None, "ana")
QUERY = "Which hotel in Lisbon did Ana like?"
CONFIG = {"metadata": {"user_id": "ana"}}
SUBJECTS = ("the hotel in Lisbon", "the flight to Porto", "the garden", "the piano lesson", "the new bicycle")
LITTLE = ("I", "the", "and", "to", "a", "of", "in", "it")
SYLLABLES = ["".join(part) for part in itertools.product("bdfgklmn", "aeiou", ("", "r"))]
WORDS = ("quiet", "late", "blue", "expensive", "friendly", "broken", "sunny", "narrow", "old", "fast", "empty")


def measure(effort: Effort) -> Report:
    pushed, found = _pushed(effort.of(3000))
    turns = effort.of(TURNS, least=BATCH) // BATCH * BATCH
    server, asked = _server(effort.of(400), turns)
    return Report(
        [
            Figure(
                "retriever, from pushed context",
                pushed.median,
                "ms",
                PUSHED_MS,
                spread=pushed,
                note=f"LangChain's invoke included; {found} documents",
            ),
            Figure(
                "retriever, from a local server",
                server.median,
                "ms",
                SERVER_MS,
                spread=server,
                note=f"LangChain's invoke and loopback included; {turns:,} turns of one user; {asked} documents",
            ),
        ]
    )


def _pushed(times: int) -> tuple[Spread, int]:
    """Ten items, as many as a bundle usually holds."""
    items = tuple(
        ContextItem(f"item-{at}", "facts", text=f"Ana found {what} {word}.", score=1 - at / 20)
        for at, (what, word) in enumerate(zip(SUBJECTS * 2, WORDS, strict=False))
    )
    bundle = ContextBundle("bundle-1", "anticipation", scope=SCOPE, items=items, search_queries=(QUERY,), ttl_s=600)
    with Synap(base_url="local", storage_path=Path(":memory:")) as synap:
        synap._on_inbound(bundle)  # noqa: SLF001 - as the stream does
        retriever = SynapRetriever(synap)
        first = retriever.invoke(QUERY, CONFIG)
        assert first[0].metadata["answered_from"] == "pushed"
        return Spread.of([_timed(retriever, QUERY) for _ in range(times)]).times(1e3), len(first)


def _server(times: int, turns: int) -> tuple[Spread, int]:
    """A `synap dev` process of its own; each question is another one, so that nothing is answered from before."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "equipment"))
    from dev_server import dev_server

    with tempfile.TemporaryDirectory() as folder, dev_server() as server:
        talk = Talk()
        for start in range(0, turns, BATCH):
            messages = [
                {"conversation_id": f"c-{at // 50}", "user_id": "ana", "role": "user", "content": talk.say(8)}
                for at in range(start, start + BATCH)
            ]
            status, answer = server.post("/v1/conversations/messages/batch", {"messages": messages})
            assert (status, answer["succeeded"]) == (200, BATCH), answer
        with Synap(**server.address, storage_path=folder, lookup_timeout_s=10) as synap:
            retriever = SynapRetriever(synap, mode="accurate")
            questions = [f"When did I {talk.say(4)}?" for _ in range(times)]
            first = retriever.invoke(questions[0], CONFIG)
            assert first[0].metadata["answered_from"] == "fetched"
            return Spread.of([_timed(retriever, question) for question in questions]).times(1e3), len(first)


class Talk:
    """Sentences in a language of 4,000 words that are as unevenly common as those of real ones."""

    def __init__(self) -> None:
        self._dice = random.Random(7)
        self._words = ["".join(pair) for pair in itertools.product(SYLLABLES, SYLLABLES)][:4000]
        self._weights = list(itertools.accumulate(1 / (rank + 20) for rank in range(len(self._words))))

    def say(self, words: int) -> str:
        """The next sentence."""
        chosen = self._dice.choices(self._words, cum_weights=self._weights, k=words)
        return " ".join(f"{little} {word}" for little, word in zip(itertools.cycle(LITTLE), chosen, strict=False))


def _timed(retriever: SynapRetriever, query: str) -> float:
    began = time.perf_counter()
    retriever.invoke(query, CONFIG)
    return time.perf_counter() - began

"""An application that talks without end to a platform: how much it grows, with all that is ours in it."""

import gc
from dataclasses import dataclass
from pathlib import Path

from growth_proof import resident_kb
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_models import WholeModel
from platform_apart import platform_apart

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

FULL_AFTER = 10_500
"""Calls: no table keeps more than 10,000 conversations, or 20,000 of what each call brings two of (runs, bundles)."""
LONG = " and more" * 3_000
"""Whoever keeps a question keeps 27 KB."""
PATIENT = {"capture_wait_s": 30, "recall_timeout_s": 10, "request_timeout_s": 60}
"""Nothing here depends on how busy the machine is."""
WAITING = 100
"""Calls between two flushes: the platform is asked at the pace at which it answers."""
RECALLING = 10
"""One call in so many is shown context, and waits for it."""


@dataclass(frozen=True)
class Figures:
    """``turns`` after the tables were full, and by how much resident memory grew meanwhile; ``shown``: prompts with
    context among them; ``undelivered`` at the end.
    """

    turns: int
    shown: int
    undelivered: int
    grown_kb: int


def measure(folder: Path, *, calls: int, full_after: int = FULL_AFTER) -> Figures:
    """A conversation of its own for every call of a chain, one user for two of them: a question and an answer."""
    with platform_apart() as address, Synap(**address, storage_path=folder / "synap", **PATIENT) as synap:
        model, handler = WholeModel(), SynapCallbackHandler(synap)
        plain, shown = (
            (RunnableLambda(_asked) | chat).with_config(callbacks=[handler])
            for chat in (model, with_synap_memory(model, synap))
        )
        seen = at_first = 0
        for number in range(full_after + calls):
            if number == full_after:
                at_first, seen = _settled_kb(synap), 0
            seen += _shown_context(plain if number % RECALLING else shown, model, number)
            if number % WAITING == WAITING - 1:
                synap.flush(600)
        grown = _settled_kb(synap) - at_first
        return Figures(2 * calls, seen, synap.status().waiting, grown)


def _shown_context(chain: Runnable, model: WholeModel, number: int) -> bool:
    metadata = {"conversation_id": f"c-{number}", "user_id": f"u-{number // 2}"}
    chain.invoke(f"question {number}{LONG}", {"metadata": metadata})
    prompts = model.seen.copy()
    model.seen.clear()
    return any("an answer to" in str(prompt) for prompt in prompts)


def _asked(question: str) -> list[HumanMessage]:
    return [HumanMessage(question)]


def _settled_kb(synap: Synap) -> int:
    synap.flush(600)
    gc.collect()
    return resident_kb()

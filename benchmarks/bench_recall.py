"""How long `recall` takes when the context is there: lookup, selection and rendering of ten items."""

from __future__ import annotations

import time
from pathlib import Path

from measuring import Effort, Figure, Report, Spread

from synap_integrations import Scope, Synap
from synap_integrations.context.render import as_prompt
from synap_integrations.model import ContextBundle, ContextItem

TARGET_US = 100.0
SCOPE = Scope("conversation-1", "ana", customer_id="acme")
QUERY = "Which hotel in Lisbon did I like?"
TEXTS = (
    "Ana liked the Hotel Avenida in Lisbon because of its quiet rooms.",
    "Ana flies to Lisbon on Friday at ten.",
    "Ana prefers window seats.",
    "Ana's daughter starts school in September.",
    "The hotel in Porto was too loud for her.",
    "She asked for a late check-out at every hotel.",
    "Her budget for Lisbon is 150 euros a night.",
    "Ana is allergic to peanuts.",
    "She met Rui in Lisbon last spring.",
    "Ana wants to see the oceanarium again.",
)


def measure(effort: Effort) -> Report:
    items = tuple(
        ContextItem(f"item-{n}", "facts", text=text, score=1 - n / 20, source="conversation-0")
        for n, text in enumerate(TEXTS)
    )
    bundle = ContextBundle("bundle-1", "anticipation", scope=SCOPE, items=items, search_queries=(QUERY,), ttl_s=600)
    with Synap(base_url="local", storage_path=Path(":memory:")) as synap:
        synap._on_inbound(bundle)  # noqa: SLF001 - as the stream does
        shown = synap.recall(QUERY, scope=SCOPE)
        assert shown.source == "pushed", shown.receipt
        taken = [_timed(synap) for _ in range(effort.of(5000))]
    spread = Spread.of(taken).times(1e6)
    note = f"{len(shown.items)} of {len(TEXTS)} items chosen"
    return Report(
        [Figure("recall of fresh context, rendered", spread.median, "µs", TARGET_US, spread=spread, note=note)]
    )


def _timed(synap: Synap) -> float:
    began = time.perf_counter()
    as_prompt(synap.recall(QUERY, scope=SCOPE))
    return time.perf_counter() - began

"""What is reported of a block that a model was shown: which items of which bundles, and how it came about."""

from synap_integrations.model import Assembly, Context, ContextItem, ContextUsed, Dropped, Receipt
from synap_integrations.runtime.usage import record_used, used_of
from synap_integrations.scoping import Scope
from synap_integrations.testing import FakeMemory

ITEMS = tuple(ContextItem(f"i{at}", "facts", text="x") for at in range(3))


def test_a_receipt_becomes_figures_without_words_of_users():
    """Reasons are counted, what did not fit into the block is one of them, and the question is not told."""
    receipt = Receipt(
        "Where do I live?",
        bundle_ids=("b",),
        dropped=(Dropped("d1", "budget"), Dropped("d2", "budget"), Dropped("d3", "weak")),
        tokens=61,
        token_budget=800,
        waited_s=0.0124,
        why="no answer in time",
    )
    used = used_of(Context(ITEMS, source="fetched", receipt=receipt), ["i0", "i2"])
    assembly = Assembly(
        source="fetched",
        why="no answer in time",
        tokens=61,
        token_budget=800,
        waited_ms=12,
        dropped={"budget": 2, "weak": 1, "room": 1},
    )
    assert used == ContextUsed(("b",), ("i0", "i2"), assembly=assembly)
    assert "live" not in repr(used)


def test_a_context_without_a_receipt_has_nothing_to_report():
    """Nobody knows which bundle it is from: nothing is recorded."""
    used = used_of(Context(ITEMS), ["i0"])
    assert used == ContextUsed((), ("i0",))
    record_used("langchain", memory := FakeMemory(), used, Scope("c", "ana"))
    assert memory.recorded == []

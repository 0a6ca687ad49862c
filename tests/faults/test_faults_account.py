"""An account that is refused, and then mended: delivery goes on when somebody asks for it, without five minutes."""

import time

import pytest

from synap_integrations import Scope
from synap_integrations.model import ToolCall, UserMessage


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_mended_account_delivers_at_the_next_flush(synap, status) -> None:
    """Held, and every turn kept; the owner acts, somebody flushes, and it is there within seconds."""
    synap.faults.status(status)
    for number in range(5):
        synap.record(UserMessage(f"turn {number}"), scope=Scope("c-1", "ana"))
    synap.record(ToolCall("search", {}, "call-1"), scope=Scope("c-1", "ana"))
    assert not synap.memory.flush(0.5)
    assert synap.memory.status().state.startswith("held")
    synap.faults.clear()
    began = time.monotonic()
    assert synap.memory.flush(20)
    assert time.monotonic() - began < 10
    assert [words for role, words, *_ in synap.transcript("c-1") if role == "user"] == [f"turn {n}" for n in range(5)]

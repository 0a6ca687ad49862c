"""A conversation that was begun anew is told to a prompt from then on, although the platform still has all of it."""

import asyncio
from pathlib import Path

from synap_integrations import Scope, Synap, context
from synap_integrations.model import UserMessage
from synap_integrations.runtime.short_term import ShortTermMessage

SCOPE = Scope("c1", "ana")


def told(synap):
    """What the message says of the conversation now."""
    with context(conversation_id="c1", user_id="ana"):
        return asyncio.run(ShortTermMessage(synap, "c1", {"user_id": "ana"}).text(lambda _: SCOPE))


def test_turns_from_before_a_reset_are_not_told():
    """Before a reset all turns are there; after it none of them, and those that follow."""
    with Synap(base_url="local", storage_path=Path(":memory:")) as synap:
        synap.record(UserMessage("I collect old maps."), scope=SCOPE)
        assert synap.flush()
        assert "old maps" in told(synap)
        synap.begin_anew(SCOPE)
        assert told(synap) == ""
        synap.record(UserMessage("I like green tea."), scope=SCOPE)
        assert synap.flush()
        after = told(synap)
        assert "green tea" in after
        assert "old maps" not in after

"""A bundle that was pushed, and that somebody looks up: the platform learns that it was used."""

from collections.abc import Callable

from waiting import until

from synap_integrations import Scope
from synap_integrations.model import UserMessage
from synap_integrations.ports import Search
from synap_integrations.testing.rig import Rig


def assert_a_push_is_used(synap: Rig, question: str, look_up: Callable[[], object]) -> None:
    """Push what answers a question of Ana's on Tuesday: it counts as used once she has looked it up, not before."""
    ana = Scope("tuesday", "ana")
    synap.record(UserMessage("I'm allergic to shellfish."), scope=Scope("monday", "ana"))
    synap.settle()
    synap.record(UserMessage(question), scope=ana)
    until(lambda: synap.memory.ask(Search(question), scope=ana).source == "pushed", what="the bundle to arrive")
    assert [push.used_at for push in synap.pushed()] == [None] * len(synap.pushed())
    assert "shellfish" in str(look_up())
    # A report of use is not acknowledged: it takes effect soon after it is delivered.
    used = until(lambda: [push for push in synap.pushed() if push.used_at is not None], what="a bundle to be used")
    assert all(push.used_item_ids for push in used)

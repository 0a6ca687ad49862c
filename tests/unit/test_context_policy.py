"""What an application may rule out: levels, single items, all of it."""

from dataclasses import replace

import pytest

from synap_integrations import InvalidInputError, Scope, Synap
from synap_integrations.context.desk import ContextDesk
from synap_integrations.context.policy import ContextPolicy
from synap_integrations.guard import incidents
from synap_integrations.model import Context, ContextBundle, ContextItem

ANA = Scope("c-1", "ana", customer_id="acme")
STAMPS = {
    "conversation": ANA,
    "user": replace(ANA, conversation_id=None),
    "customer": Scope(customer_id="acme"),
}
QUESTION = "which tiles did Ana restore in Lisbon"


def bundle(level: str, text: str = "Ana did restore the tiles in Lisbon") -> ContextBundle:
    """A bundle of this level with one item that covers the question."""
    item = ContextItem(f"i-{level}", "facts", text=f"{text}, says her {level}")
    return ContextBundle(f"b-{level}", "anticipation", scope=STAMPS[level], items=(item,))


def recalled(policy: ContextPolicy) -> Context:
    """What a desk with this policy shows, when it holds one bundle of each level."""
    desk = ContextDesk(policy=policy)
    for level in STAMPS:
        assert desk.apply(bundle(level))
    return desk.recall(QUESTION, scope=ANA, ask=lambda _: None, timeout_s=0.0)


def shown(context: Context) -> set[str]:
    """Ids of the items that a model would see."""
    return {item.item_id for item in context.items}


def dropped(context: Context, reason: str) -> set[str]:
    """Ids that the receipt says were dropped for this reason."""
    assert context.receipt is not None
    return {one.item_id for one in context.receipt.dropped if one.reason == reason}


def test_without_rules_every_level_is_shown() -> None:
    """The rules only take away: by default there are none."""
    assert shown(recalled(ContextPolicy())) == {"i-conversation", "i-user", "i-customer"}


@pytest.mark.parametrize("level", list(STAMPS))
def test_only_the_levels_that_are_allowed_are_shown(level: str) -> None:
    """An application that allows one level sees bundles of no other."""
    assert shown(recalled(ContextPolicy(levels=(level,)))) == {f"i-{level}"}


def test_a_level_that_does_not_exist_is_named() -> None:
    """A typing mistake does not silently allow nothing."""
    with pytest.raises(InvalidInputError, match="galaxy"):
        Synap(context_levels="user,galaxy", storage_path=":memory:")


def test_quarantine_shows_nothing_and_says_what_it_would_have_shown() -> None:
    """Whoever does not trust the memories yet can read in the receipt what a prompt would have held."""
    context = recalled(ContextPolicy(shows=False))
    assert not context
    assert dropped(context, "quarantine") == {"i-conversation", "i-user", "i-customer"}


def test_a_filter_takes_out_and_rewrites() -> None:
    """The application's filter decides item by item, and may mask a text."""

    def keep(items):
        return [replace(item, text="masked") for item in items if item.item_id != "i-user"]

    context = recalled(ContextPolicy(keep=keep))
    assert {item.item_id: item.text for item in context.items} == {"i-conversation": "masked", "i-customer": "masked"}
    assert dropped(context, "filtered") == {"i-user"}


def test_a_filter_cannot_bring_in_what_nobody_remembers() -> None:
    """An item that was not chosen has no provenance, and is not shown."""
    context = recalled(ContextPolicy(keep=lambda items: [*items, ContextItem("new", "facts", text="made up")]))
    assert shown(context) == {"i-conversation", "i-user", "i-customer"}


def test_a_filter_that_fails_shows_nothing_and_is_counted() -> None:
    """It fails closed: the chain goes on without context."""

    def broken(items):
        raise ZeroDivisionError

    before = sum(incidents.counts().values())
    with Synap(context_filter=broken, storage_path=":memory:", recall_timeout_s=0) as synap:
        synap._desk.apply(bundle("user"))
        assert not synap.recall(QUESTION, scope=ANA)
    assert sum(incidents.counts().values()) == before + 1


def test_context_can_be_switched_off_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kill switch: with SYNAP_CONTEXT=off nothing is looked up and nothing is asked; capture goes on."""
    monkeypatch.setenv("SYNAP_CONTEXT", "off")
    with Synap(storage_path=":memory:") as synap:
        synap._desk.apply(bundle("user"))
        assert synap.recall(QUESTION, scope=ANA) == Context()
        assert synap.status().state == "not started"

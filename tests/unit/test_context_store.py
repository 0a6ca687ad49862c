"""Whose a bundle is, how long it lives, and how much is held."""

import asyncio
import os
import threading

import pytest

from synap_integrations.context.store import ContextStore
from synap_integrations.model import ContextBundle, ContextItem, Scope

ANA = Scope("conv-1", "ana", customer_id="acme")


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return ContextStore(clock=clock)


def bundle_of(bundle_id="b1", scope=ANA, *, items=None, **fields):
    """A bundle with one item."""
    items = (ContextItem(f"{bundle_id}-i", "facts", text=f"text of {bundle_id}"),) if items is None else items
    return ContextBundle(bundle_id, "anticipation", scope=scope, items=items, **fields)


def ids(store, scope, **fields):
    """Ids of the bundles that may answer a scope."""
    return [pushed.bundle.bundle_id for pushed in store.lookup(scope, **fields)]


@pytest.mark.parametrize(
    ("stamp", "request_scope", "served"),
    [
        (ANA, ANA, True),
        (Scope(None, "ana", customer_id="acme"), ANA, True),
        (Scope(None, None, customer_id="acme"), ANA, True),
        (ANA, Scope("conv-2", "ana", customer_id="acme"), False),
        (ANA, Scope(None, "ana", customer_id="acme"), False),
        (Scope(None, "ana", customer_id="acme"), Scope("conv-1", "ana", customer_id="other"), False),
        (Scope(None, "ana", customer_id="acme"), Scope("conv-1", "ana"), False),
        (Scope(None, "ana"), ANA, False),
        (Scope("conv-1"), ANA, False),
        (Scope("conv-1"), Scope("conv-1"), True),
        (Scope(None, "Ana", customer_id="acme"), ANA, False),
        (Scope(None, "acme"), Scope("c", None, customer_id="acme"), False),
        (Scope(None, None, customer_id="ana"), Scope("c", "ana"), False),
        (Scope("", "ana", customer_id=""), Scope("c", "ana"), True),
        (Scope(None, "_any"), Scope("c", "ana"), False),
        (Scope(None, "é"), Scope("c", "e\u0301"), False),
        (ANA, Scope(), False),
    ],
)
def test_bundle_answers_its_owner_only(store, stamp, request_scope, served):
    """Every field at the level of a bundle and above equals the request's, byte for byte; below it, all are served."""
    assert store.apply(bundle_of(scope=stamp))
    assert ids(store, request_scope) == (["b1"] if served else [])


def test_unstamped_bundle_is_refused(store):
    """What says of nobody whose it is would be served to all, so it is not stored."""
    assert not store.apply(bundle_of(scope=Scope()))
    assert not store.apply(bundle_of(scope=Scope("", "", customer_id="")))
    assert store.counts() == {"refused: no owner": 2}


def test_rungs_are_equal_or_strangers(store):
    """A bundle made for a rung of the scope path answers requests of that rung, and absent equals only absent."""
    store.apply(bundle_of(rung="team=payments"))
    assert ids(store, ANA) == []
    assert ids(store, ANA, rung="team=payments") == ["b1"]


def test_bundle_id_belongs_to_one_owner(store):
    """The same id under another owner is refused and counted; under the same owner it replaces."""
    assert store.apply(bundle_of())
    assert not store.apply(bundle_of(scope=Scope("conv-1", "bob", customer_id="acme")))
    assert store.apply(bundle_of(items=(ContextItem("new", "facts", text="new"),)))
    assert [item.item_id for pushed in store.lookup(ANA) for item in pushed.bundle.items] == ["new"]
    assert store.counts()["refused: id of another owner"] == 1


@pytest.mark.parametrize(
    ("level", "entity_id", "kept"),
    [
        (None, None, True),
        ("user", "ana", True),
        ("user", None, True),
        ("user", "bob", False),
        ("customer", "acme", True),
        ("customer", "ana", False),
        ("client", "instance-7", True),
        ("conversation", "conv-1", True),
        ("conversation", "conv-2", False),
        ("planet", "earth", False),
        (None, "bob", False),
        (None, "ana", True),
    ],
)
def test_each_item_is_checked_again(store, level, entity_id, kept):
    """An item that says it is somebody else's does not come in with a bundle that is yours."""
    store.apply(bundle_of(items=(ContextItem("i", "facts", text="x", level=level, entity_id=entity_id),)))
    assert [len(pushed.bundle.items) for pushed in store.lookup(ANA)] == [int(kept)]


def test_item_of_a_nameless_user_is_not_everybodys(store):
    """An item of user level in a bundle for a whole customer names nobody it could be shown to."""
    item = ContextItem("i", "facts", text="x", level="user")
    store.apply(bundle_of(scope=Scope(None, None, customer_id="acme"), items=(item,)))
    assert [pushed.bundle.items for pushed in store.lookup(ANA)] == [()]


@pytest.mark.parametrize(
    ("ttl_s", "lives_s"), [(None, 1_800), (60, 60), (7_200, 3_600), (float("inf"), 3_600), (2_000, 2_000)]
)
def test_bundle_lives_as_long_as_it_may(store, clock, ttl_s, lives_s):
    """Half an hour where it does not say, what it says where it does, an hour at most; by the monotonic clock."""
    store.apply(bundle_of(ttl_s=ttl_s))
    clock.now += lives_s - 1
    assert ids(store, ANA) == ["b1"]
    clock.now += 1
    assert ids(store, ANA) == []
    assert len(store) == 0


@pytest.mark.parametrize("ttl_s", [0, -5, float("nan")])
def test_bundle_without_a_life_is_refused(store, ttl_s):
    """A life of nothing, or of no number, is none."""
    assert not store.apply(bundle_of(ttl_s=ttl_s))


def test_oldest_bundles_make_room(clock):
    """Bounds hold for one owner, for all bundles and for bytes; what goes is the oldest, and it is counted."""
    store = ContextStore(clock=clock, max_bundles=5, max_bundles_per_owner=2, max_bytes=50_000)
    for at in range(3):
        store.apply(bundle_of(f"b{at}"))
    assert ids(store, ANA) == ["b1", "b2"]
    for at in range(5):
        store.apply(bundle_of(f"u{at}", Scope(None, f"user-{at}")))
    assert len(store) == 5
    assert ids(store, ANA) == []
    big = ContextItem("big", "facts", text="x" * 1_300)
    for at in range(12):
        store.apply(bundle_of(f"big{at}", Scope(None, f"big-{at}"), items=(big,)))
    assert len(store) == 5
    assert not store.apply(bundle_of("huge", items=(ContextItem("i", "facts", text="x" * 50_000),)))
    assert store.counts() == {"stored": 20, "evicted": 15, "refused: too large": 1}


def test_forget_drops_what_names_the_ids(store):
    """Forgetting a user drops the user's bundles in all conversations and no other; an empty scope names nobody."""
    store.apply(bundle_of("conv"))
    store.apply(bundle_of("user", Scope(None, "ana", customer_id="acme")))
    store.apply(bundle_of("other", Scope(None, "bob", customer_id="acme")))
    assert store.forget(Scope()) == 0
    assert store.forget(Scope(None, "ana")) == 2
    assert ids(store, Scope("c", "bob", customer_id="acme")) == ["other"]
    store.clear()
    assert len(store) == 0


# --- waiting ------------------------------------------------------------------------------------------------


def test_a_thread_waits_for_its_bundle(store):
    """Whoever waits for the answer to an event is woken when it is filed, not by other bundles, and not twice."""
    expectation = store.expect(ANA, answers="e1")
    filing = threading.Timer(0.01, lambda: [store.apply(bundle_of("b0")), store.apply(bundle_of(answers="e1"))])
    filing.start()
    assert expectation.wait(5).bundle_id == "b1"
    filing.join()
    assert store.expect(ANA, answers="e1").wait(0).bundle_id == "b1"
    assert store.expect(ANA, answers="e2").wait(0.001) is None
    assert not store._expected


async def test_a_task_waits_for_its_bundle(store):
    """On an event loop the wait lets other tasks go on, and the waking comes from the delivery thread."""
    expectation = store.expect(ANA, answers="e1")
    thread = threading.Thread(target=lambda: store.apply(bundle_of(answers="e1")))
    waiting = asyncio.create_task(expectation.await_(5))
    await asyncio.sleep(0)
    thread.start()
    assert (await waiting).bundle_id == "b1"
    thread.join()
    assert (await store.expect(ANA, answers="e1").await_(0)).bundle_id == "b1"
    assert await store.expect(ANA, answers="e2").await_(0.001) is None


def test_answer_of_another_owner_wakes_nobody(store):
    """A bundle that claims to answer my event but is stamped for somebody else is not what I wait for."""
    expectation = store.expect(ANA, answers="e1")
    store.apply(bundle_of(scope=Scope("conv-1", "bob", customer_id="acme"), answers="e1"))
    assert expectation.wait(0.001) is None


def test_a_forked_child_starts_empty(store):
    """A child of fork can use the store even if another thread held its lock at that moment."""
    store.apply(bundle_of())
    with store._lock:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if store.apply(bundle_of("b2")) and ids(store, ANA) == ["b2"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ids(store, ANA) == ["b1"]

"""However bundles and requests are mixed, nobody is served what is not theirs: judged by a naive model."""

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synap_integrations.context.store import ContextStore
from synap_integrations.model import ContextBundle, ContextItem, Scope

IDS = [None, "", "a", "A", "ab", "a|b", "_any", "*", "é", "e\u0301", " a", "None", "conversation"]
RUNGS = ["", "a", "team=a"]


def may_answer(stamp, rung, request, request_rung):
    """The rule, spelled out without tuples or shelves."""
    have = [stamp.customer_id or None, stamp.user_id or None, stamp.conversation_id or None]
    want = [request.customer_id or None, request.user_id or None, request.conversation_id or None]
    if rung != request_rung or have == [None, None, None]:
        return False
    while have and have[-1] is None:
        have.pop()
        want.pop()
    return have == want


scopes = st.builds(lambda c, u, k: Scope(c, u, customer_id=k), *[st.sampled_from(IDS)] * 3)


@given(st.lists(st.tuples(scopes, st.sampled_from(RUNGS)), max_size=12), scopes, st.sampled_from(RUNGS))
def test_lookup_agrees_with_the_naive_rule(stamps, request, rung):
    """The store serves exactly the bundles that the rule serves."""
    store = ContextStore()
    for at, (stamp, stamp_rung) in enumerate(stamps):
        store.apply(ContextBundle(f"b{at}", "anticipation", scope=stamp, items=(), rung=stamp_rung))
    served = {pushed.bundle.bundle_id for pushed in store.lookup(request, rung=rung)}
    assert served == {f"b{at}" for at, (stamp, own) in enumerate(stamps) if may_answer(stamp, own, request, rung)}


@settings(max_examples=25)
@given(st.lists(st.tuples(scopes, st.integers(0, 5)), min_size=1, max_size=60))
def test_bounds_hold_after_every_step(steps):
    """Whatever is filed, the books agree: bundles, shelves and bytes."""
    store = ContextStore(max_bundles=6, max_bundles_per_owner=3, max_bytes=12_000)
    for stamp, at in steps:
        items = (ContextItem("i", "facts", text="x" * at),)
        store.apply(ContextBundle(f"b{at}{stamp.user_id}", "anticipation", scope=stamp, items=items))
        shelves = [filed for shelf in store._shelves.values() for filed in shelf.values()]
        assert len(store) == len(shelves) <= 6
        assert all(len(shelf) <= 3 for shelf in store._shelves.values())
        assert store._bytes == sum(filed.size for filed in shelves) <= 12_000


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [20_250_601, None], ids=["fixed", "random"])
def test_a_million_operations_agree_with_the_naive_rule(seed):
    """A fixed and a random seed, 10^6 bundles and requests each: never one bundle more or less than the rule says."""
    dice = random.Random(seed)
    store, filed = ContextStore(max_bundles=64, max_bundles_per_owner=64), {}

    def anybody():
        return Scope(dice.choice(IDS), dice.choice(IDS), customer_id=dice.choice(IDS))

    for step in range(500_000):
        bundle = ContextBundle(f"b{step % 48}", "anticipation", scope=anybody(), items=(), rung=dice.choice(RUNGS))
        if store.apply(bundle):
            filed[bundle.bundle_id] = bundle
        request, rung = anybody(), dice.choice(RUNGS)
        served = {pushed.bundle.bundle_id for pushed in store.lookup(request, rung=rung)}
        assert served == {name for name, one in filed.items() if may_answer(one.scope, one.rung, request, rung)}
        if step % 97 == 0:
            store.clear()
            filed.clear()


def test_eight_threads_never_see_each_other():
    """Eight users file, look up and forget at the same time; nobody ever sees another's canary."""
    store = ContextStore(max_bundles=200)
    leaks, seen = [], []

    def one_user(name):
        dice = random.Random(name)
        scope = Scope(None, name, customer_id=dice.choice(["acme", "a", None]))
        for _ in range(1_500):
            bundle_id = f"{name}-{dice.randrange(20)}"
            if dice.random() < 0.02:
                store.forget(scope)
            items = (ContextItem(bundle_id, "facts", text=f"canary of {name}"),)
            store.apply(ContextBundle(bundle_id, "anticipation", scope=scope, items=items))
            texts = {item.text for pushed in store.lookup(scope) for item in pushed.bundle.items}
            leaks.extend(texts - {f"canary of {name}"})
            seen.append(bool(texts))

    threads = [threading.Thread(target=one_user, args=(f"user-{at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaks == []
    assert any(seen)

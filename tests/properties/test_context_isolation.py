"""However bundles and requests are mixed, nobody is served what is not theirs: judged by a naive model."""

from hypothesis import given, settings
from hypothesis import strategies as st
from isolation_proof import IDS, RUNGS, may_answer, measure

from synap_integrations.context.store import ContextStore
from synap_integrations.model import ContextBundle, ContextItem, Scope

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


def test_strangers_and_threads_never_see_each_other():
    """A random seed, 8,000 bundles and look-ups, and eight threads: as the rule says, and nothing else."""
    figures = measure(operations=8_000)
    assert (figures.crossed, figures.withheld) == (0, 0)
    assert figures.served > 1_000

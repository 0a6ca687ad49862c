"""However bundles and requests are mixed, on one thread or on eight: is anybody served what is not theirs?"""

import random
import threading
from dataclasses import dataclass
from pathlib import Path

from synap_integrations.context.store import ContextStore
from synap_integrations.model import ContextBundle, ContextItem, Scope

IDS = [None, "", "a", "A", "ab", "a|b", "_any", "*", "é", "e\u0301", " a", "None", "conversation"]
RUNGS = ["", "a", "team=a"]


@dataclass(frozen=True)
class Figures:
    """``crossed``: bundles served to somebody they are not for; ``withheld``: not served to whom they are for."""

    operations: int
    threads: int
    served: int
    crossed: int
    withheld: int


def may_answer(stamp: Scope, rung: str, request: Scope, request_rung: str) -> bool:
    """The rule, spelled out without tuples or shelves."""
    have = [stamp.customer_id or None, stamp.user_id or None, stamp.conversation_id or None]
    want = [request.customer_id or None, request.user_id or None, request.conversation_id or None]
    if rung != request_rung or have == [None, None, None]:
        return False
    while have and have[-1] is None:
        have.pop()
        want.pop()
    return have == want


def measure(_folder: Path | None = None, *, operations: int, threads: int = 8, seed: int | None = None) -> Figures:
    """So many bundles and look-ups against the rule, and as many more in threads that share a store."""
    dice = random.Random(seed)
    store, filed = ContextStore(max_bundles=64, max_bundles_per_owner=64), {}
    served = crossed = withheld = 0
    for step in range(operations // 2):
        bundle = ContextBundle(f"b{step % 48}", "anticipation", scope=_anybody(dice), items=(), rung=dice.choice(RUNGS))
        if store.apply(bundle):
            filed[bundle.bundle_id] = bundle
        request, rung = _anybody(dice), dice.choice(RUNGS)
        found = {pushed.bundle.bundle_id for pushed in store.lookup(request, rung=rung)}
        due = {name for name, one in filed.items() if may_answer(one.scope, one.rung, request, rung)}
        served, crossed, withheld = served + len(found), crossed + len(found - due), withheld + len(due - found)
        if step % 97 == 0:
            store.clear()
            filed.clear()
    shared, strangers = _together(threads, operations // threads // 2)
    return Figures(2 * operations, threads, served + shared, crossed + strangers, withheld)


def _anybody(dice: random.Random) -> Scope:
    return Scope(dice.choice(IDS), dice.choice(IDS), customer_id=dice.choice(IDS))


def _together(threads: int, rounds: int) -> tuple[int, int]:
    """Users who file, look up and forget at the same time: bundles served, and those of somebody else among them."""
    store, served, strangers = ContextStore(max_bundles=200), [], []

    def one_user(name: str) -> None:
        dice = random.Random(name)
        scope = Scope(None, name, customer_id=dice.choice(["acme", "a", None]))
        for _ in range(rounds):
            bundle_id = f"{name}-{dice.randrange(20)}"
            if dice.random() < 0.02:
                store.forget(scope)
            items = (ContextItem(bundle_id, "facts", text=f"canary of {name}"),)
            store.apply(ContextBundle(bundle_id, "anticipation", scope=scope, items=items))
            texts = [item.text for pushed in store.lookup(scope) for item in pushed.bundle.items]
            served.append(len(texts))
            strangers.extend(text for text in texts if text != f"canary of {name}")

    users = [threading.Thread(target=one_user, args=(f"user-{at}",)) for at in range(threads)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    return sum(served), len(strangers)

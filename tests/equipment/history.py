"""Did everything that was accepted arrive, once, in order, and do the figures say so?"""

from collections import defaultdict
from collections.abc import Iterable

from synap_integrations.model import Envelope
from synap_integrations.outbox import Counts


def assert_accounted(counts: Counts, **expected: int) -> None:
    """The figures add up, and those that are named are as expected."""
    assert counts.add_up, counts
    assert {name: getattr(counts, name) for name in expected} == expected, counts


def by_conversation(envelopes: Iterable[Envelope]) -> dict[str | None, list[str]]:
    """Event ids of each conversation, each at its first appearance."""
    found: dict[str | None, dict[str, None]] = defaultdict(dict)
    for envelope in envelopes:
        found[envelope.scope.conversation_id].setdefault(envelope.event_id)
    return {conversation: list(ids) for conversation, ids in found.items()}


def assert_delivered(appended: Iterable[Envelope], received: Iterable[Envelope], *, once: bool = True) -> None:
    """Nothing lost, nothing invented, each conversation in order; with ``once``, no repeats either."""
    appended, received = list(appended), list(received)
    assert by_conversation(received) == by_conversation(appended)
    if once:
        assert len(received) == len(appended)

"""One conversation as a line of entries, read from the database."""

from __future__ import annotations

from typing import Final

from synap_integrations.server.records import microseconds

from .queries import Reading
from .timeline import Entry, Shown, bundle_ids, entries, receipt, shown, woven
from .views import Chat, Occurrence

_FOREVER_US: Final = 1 << 62


def line(reading: Reading, chat: Chat, first: int, last: int) -> list[Entry]:
    """What was said and done in a conversation from one position to another."""
    turns = reading.turns(chat, first=first, last=last)
    start_us = microseconds(turns[0].turn.recorded_at) if turns and first > 1 else 0
    after = reading.turns(chat, first=last + 1, last=last + 1)
    end_us = microseconds(after[0].turn.recorded_at) if after else _FOREVER_US
    events = reading.events(chat, start_us=start_us, end_us=end_us)
    pushes = reading.pushes_into(chat, start_us=start_us, end_us=end_us)
    reports = [report(reading, chat, event) for event in events if event.kind == "context_used"]
    return woven(turns, entries(events, pushes, reports))


def report(reading: Reading, chat: Chat, event: Occurrence) -> Shown:
    """What a client reported to have shown to a model."""
    told = reading.receipt_of(chat, event)
    return shown(event, reading.pushes_of(chat.owner, bundle_ids(event)), receipt(told) if told else None)

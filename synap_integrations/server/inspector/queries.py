"""Everything the pages read: conversations, people, what happened. For the person at the machine, who may see all.

Rows are named by their numbers, because ids are other people's text and would have to survive an address.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from synap_integrations.server.database import Database
from synap_integrations.server.records import Owner, moment
from synap_integrations.server.retrieval.ranking import holding, terms
from synap_integrations.server.rows import bundle_of, turn_of

from .views import Chat, Numbered, Occurrence, Person, Push

MOST_HITS: Final = 400
_CHAT: Final = """
    SELECT chat.id, chat.owner, chat.customer_id, chat.user_id, chat.conversation_id, chat.own_name, chat.turns,
           chat.updated_at,
           coalesce((SELECT content FROM turn WHERE conversation = chat.id ORDER BY position LIMIT 1), '')
    FROM owned_conversation AS chat
"""
_PERSON: Final = """
    SELECT owner.id, owner.customer_id, owner.user_id, count(conversation.id), coalesce(sum(conversation.turns), 0),
           max(conversation.updated_at)
    FROM owner LEFT JOIN conversation ON conversation.owner = owner.id
"""
_EVENT: Final = "SELECT id, kind, event_id, conversation_id, body, occurred_at FROM event"
_ALL_EVENTS: Final = """
    SELECT event.id, event.kind, event.event_id, event.conversation_id, event.body, event.occurred_at,
           owner.customer_id, owner.user_id, conversation.own_name
    FROM event JOIN owner ON owner.id = event.owner
    LEFT JOIN conversation ON conversation.owner = event.owner AND conversation.conversation_id = event.conversation_id
    WHERE event.id > ? ORDER BY event.id LIMIT ?
"""
_PUSH: Final = """
    SELECT pushed.*, owner.id, (SELECT conversation.id FROM conversation WHERE conversation.owner = owner.id
                                AND conversation.conversation_id = pushed.conversation_id)
    FROM owned_bundle AS pushed
    JOIN owner ON owner.customer_id = pushed.customer_id AND owner.user_id = pushed.user_id
"""
_NAMED: Final = f"{_CHAT} WHERE chat.id IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant
_PUSHED: Final = f"""{_PUSH}
    WHERE pushed.customer_id = ? AND pushed.user_id = ?
    AND pushed.bundle_id IN (SELECT value FROM json_each(?)) ORDER BY pushed.id
"""  # noqa: S608 - a constant
_HITS: Final = """
    SELECT turn.conversation, turn.content FROM turn_words JOIN turn ON turn.id = turn_words.rowid
    WHERE turn_words MATCH ? ORDER BY rank LIMIT ?
"""


class Reading:
    """Reads one `Database`. Thread-safe. What is not there is None or empty. Raises sqlite3.Error."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- conversations ---------------------------------------------------------------------------------------

    def chats(self, *, person: int | None = None, limit: int, offset: int = 0) -> list[Chat]:
        """Conversations, the one with the newest turn first; of one person, if named."""
        asked = (
            f"{_CHAT} WHERE (?1 IS NULL OR chat.owner = ?1) "
            "ORDER BY chat.updated_at DESC, chat.id DESC LIMIT ?2 OFFSET ?3"
        )
        return [_chat(row) for row in self._all(asked, (person, limit, offset))]

    def chat(self, number: int) -> Chat | None:
        """The conversation with this number."""
        found = self._all(f"{_CHAT} WHERE chat.id = ?", (number,))
        return _chat(found[0]) if found else None

    def called(self, name: str) -> list[Chat]:
        """The conversations with this id, or that an application calls so: one for each owner."""
        found = self._all(f"{_CHAT} WHERE chat.conversation_id = ?1 OR chat.own_name = ?1 ORDER BY chat.id", (name,))
        return [_chat(row) for row in found]

    def search(self, query: str, *, limit: int) -> list[Chat]:
        """Conversations whose turns hold words of the query, best first, then those whose names hold it."""
        held: dict[int, list[str]] = {}
        if words := terms(query):
            for conversation, content in self._all(_HITS, (holding(words), MOST_HITS)):
                held.setdefault(conversation, []).append(content)
        for (number,) in self._all(
            "SELECT id FROM owned_conversation WHERE instr(lower(conversation_id), ?1) OR instr(lower(own_name), ?1) "
            "OR instr(lower(user_id), ?1) OR instr(lower(customer_id), ?1) ORDER BY updated_at DESC LIMIT ?2",
            (query.lower(), limit),
        ):
            held.setdefault(number, [])
        chosen = list(held)[:limit]
        known = {row[0]: row for row in self._all(_NAMED, (json.dumps(chosen),))}
        return [_chat(known[number], tuple(held[number])) for number in chosen if number in known]

    # --- what happened in one --------------------------------------------------------------------------------

    def turns(self, chat: Chat, *, first: int, last: int) -> list[Numbered]:
        """Its turns from position ``first`` to ``last``."""
        asked = "SELECT * FROM owned_turn WHERE conversation = ? AND position BETWEEN ? AND ? ORDER BY position"
        return [_numbered(row) for row in self._all(asked, (chat.number, first, last))]

    def turns_after(self, chat: Chat, number: int, *, limit: int) -> list[Numbered]:
        """Its turns that were stored after the one with this number."""
        asked = "SELECT * FROM owned_turn WHERE conversation = ? AND id > ? ORDER BY position LIMIT ?"
        return [_numbered(row) for row in self._all(asked, (chat.number, number, limit))]

    def turn(self, owner: int, event_id: str) -> Numbered | None:
        """The owner's turn with this event id."""
        asked = (
            "SELECT seen.* FROM turn JOIN owned_turn AS seen ON seen.id = turn.id "
            "WHERE turn.owner = ? AND turn.event_id = ?"
        )
        found = self._all(asked, (owner, event_id))
        return _numbered(found[0]) if found else None

    def events(self, chat: Chat, *, start_us: int, end_us: int) -> list[Occurrence]:
        """What else happened in it, stored from ``start_us`` and before ``end_us``."""
        asked = f"{_EVENT} WHERE owner = ? AND conversation_id = ? AND occurred_at >= ? AND occurred_at < ? ORDER BY id"
        return [_event(row) for row in self._all(asked, (chat.person, chat.conversation_id, start_us, end_us))]

    def events_after(self, chat: Chat, number: int, *, limit: int) -> list[Occurrence]:
        """What else was stored after the event with this number."""
        asked = f"{_EVENT} WHERE id > ? AND owner = ? AND conversation_id = ? ORDER BY id LIMIT ?"
        return [_event(row) for row in self._all(asked, (number, chat.person, chat.conversation_id, limit))]

    def event(self, owner: int, event_id: str) -> Occurrence | None:
        """The owner's event with this id."""
        found = self._all(f"{_EVENT} WHERE owner = ? AND event_id = ?", (owner, event_id))
        return _event(found[0]) if found else None

    def calls(self, chat: Chat, tool_call_id: str) -> list[Occurrence]:
        """The tool call with this id, and its result."""
        asked = (
            f"{_EVENT} WHERE owner = ? AND conversation_id = ? AND json_extract(body, '$.tool_call_id') = ? ORDER BY id"
        )
        return [_event(row) for row in self._all(asked, (chat.person, chat.conversation_id, tool_call_id))]

    def receipt_of(self, chat: Chat, report: Occurrence) -> Occurrence | None:
        """What the client told, at the very moment of this report, about how it came about."""
        asked = (
            f"{_EVENT} WHERE owner = ? AND conversation_id = ? AND kind = 'context_fetch' AND id < ? "
            "AND json_extract(body, '$.metadata.synap_used_at_ms') = ? ORDER BY id DESC LIMIT 1"
        )
        moment = str(report.body.get("sent_at_ms") or "")
        found = self._all(asked, (chat.person, chat.conversation_id, report.number, moment)) if moment else []
        return _event(found[0]) if found else None

    # --- what was pushed -------------------------------------------------------------------------------------

    def pushes(
        self, *, person: int | None = None, pattern: str | None = None, limit: int, offset: int = 0
    ) -> list[Push]:
        """Bundles, the newest first; of one person, of one pattern, if named."""
        asked = (
            f"{_PUSH} WHERE (?1 IS NULL OR owner.id = ?1) AND (?2 IS NULL OR pushed.pattern = ?2) "
            "ORDER BY pushed.id DESC LIMIT ?3 OFFSET ?4"
        )
        return [_push(row) for row in self._all(asked, (person, pattern, limit, offset))]

    def push(self, number: int) -> Push | None:
        """The bundle with this number."""
        found = self._all(f"{_PUSH} WHERE pushed.id = ?", (number,))
        return _push(found[0]) if found else None

    def pushes_of(self, owner: Owner, bundle_ids: Sequence[str]) -> list[Push]:
        """The owner's bundles with these ids, oldest first."""
        return [_push(row) for row in self._all(_PUSHED, (*owner, json.dumps(list(bundle_ids))))]

    def pushes_into(self, chat: Chat, *, start_us: int = 0, end_us: int = 1 << 62, after: int = 0) -> list[Push]:
        """Bundles that were pushed into a conversation in this time, and after the bundle with this number."""
        asked = (
            f"{_PUSH} WHERE owner.id = ? AND pushed.conversation_id = ? AND pushed.pushed_at >= ? "
            "AND pushed.pushed_at < ? AND pushed.id > ? ORDER BY pushed.id"
        )
        return [_push(row) for row in self._all(asked, (chat.person, chat.conversation_id, start_us, end_us, after))]

    # --- everything, as it comes in --------------------------------------------------------------------------

    def all_turns_after(self, number: int, *, limit: int) -> list[Numbered]:
        """Turns of anybody that were stored after the one with this number."""
        found = self._all("SELECT * FROM owned_turn WHERE id > ? ORDER BY id LIMIT ?", (number, limit))
        return [_numbered(row) for row in found]

    def all_events_after(self, number: int, *, limit: int) -> list[tuple[Owner, str, Occurrence]]:
        """What else was stored after the event with this number: whose, in which conversation, what."""
        found = self._all(_ALL_EVENTS, (number, limit))
        return [(Owner(row[6], row[7]), row[8] or row[3], _event(row)) for row in found]

    def all_pushes_after(self, number: int, *, limit: int) -> list[Push]:
        """Bundles that were pushed to anybody after the one with this number."""
        return [
            _push(row) for row in self._all(f"{_PUSH} WHERE pushed.id > ? ORDER BY pushed.id LIMIT ?", (number, limit))
        ]

    # --- people ----------------------------------------------------------------------------------------------

    def people(self, *, limit: int, offset: int = 0) -> list[Person]:
        """Everybody who has a memory here, who spoke last first."""
        asked = f"{_PERSON} GROUP BY owner.id ORDER BY 6 DESC, owner.id LIMIT ? OFFSET ?"
        return [_person(row) for row in self._all(asked, (limit, offset))]

    def person(self, number: int) -> Person | None:
        """The user with this number."""
        found = self._all(f"{_PERSON} WHERE owner.id = ? GROUP BY owner.id", (number,))
        return _person(found[0]) if found else None

    def newest_turn(self) -> int:
        """The number of the newest turn, whoever said it."""
        ((turn,),) = self._all("SELECT max(id) FROM turn", ())
        return turn or 0

    def newest(self) -> tuple[int, int]:
        """The numbers of the newest event and bundle, wherever they happened."""
        ((event, bundle),) = self._all("SELECT (SELECT max(id) FROM event), (SELECT max(id) FROM bundle)", ())
        return event or 0, bundle or 0

    def _all(self, statement: str, values: Sequence[object]) -> list[Any]:
        with self._database.read() as db:
            found: list[sqlite3.Row] = db.execute(statement, values).fetchall()
            return found


def _chat(row: Sequence[Any], found: tuple[str, ...] = ()) -> Chat:
    return Chat(row[0], row[1], Owner(row[2], row[3]), row[4], row[5], row[6], moment(row[7]), row[8], found)


def _person(row: Sequence[Any]) -> Person:
    return Person(row[0], Owner(row[1], row[2]), row[3], row[4], None if row[5] is None else moment(row[5]))


def _numbered(row: Sequence[Any]) -> Numbered:
    return Numbered(row[-1], turn_of(row))


def _event(row: Sequence[Any]) -> Occurrence:
    return Occurrence(row[0], row[1], row[2], row[3], json.loads(row[4]), moment(row[5]))


def _push(row: Sequence[Any]) -> Push:
    return Push(row[12], row[13], row[14], bundle_of(row))

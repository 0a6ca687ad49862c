"""What happened besides turns, as rows: events, sessions, and what was pushed, why, and whether a model saw it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from synap_integrations.server.database import Database
from synap_integrations.server.records import Bundle, Happening, HitRate, Owner, PushedBundle, microseconds, moment
from synap_integrations.server.rows import IDS_ONLY, bundle_of, item_ids_of, items_json, json_text, owner_number

from .forgetting import is_forgotten

IN_FULL: Final = 2_000
"""Of that many bundles, the newest, it is kept what they said; of older ones which items they held."""


class Ledger:
    """Events, sessions and bundles of one `Database`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_event(self, happening: Happening, event_id: str, *, now: datetime) -> bool:
        """Keep something that is no turn. False if its owner has it already, or had it and forgot it."""
        with self._database.write() as db:
            if is_forgotten(db, happening.owner, event_id):
                return False
            added = db.execute(
                "INSERT OR IGNORE INTO event (owner, event_id, kind, conversation_id, session_id, body, occurred_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    owner_number(db, happening.owner),
                    event_id,
                    happening.kind,
                    happening.conversation_id,
                    happening.session_id,
                    json_text(happening.body),
                    microseconds(now),
                ),
            )
            return added.rowcount == 1

    def events(self, owner: Owner, conversation_id: str, *, limit: int = 500) -> list[Happening]:
        """What else happened in the owner's conversation, in order."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT kind, conversation_id, session_id, event_id, body, occurred_at FROM owned_event "
                "WHERE customer_id = ? AND user_id = ? AND conversation_id = ? ORDER BY id LIMIT ?",
                (*owner, conversation_id, limit),
            ).fetchall()
        return [
            Happening(
                owner=owner,
                kind=row[0],
                conversation_id=row[1],
                session_id=row[2],
                event_id=row[3],
                body=json.loads(row[4]),
                at=moment(row[5]),
            )
            for row in found
        ]

    def start_session(self, owner: Owner, session_id: str, conversation_id: str, *, now: datetime) -> bool:
        """A session begins. False if it had begun already."""
        with self._database.write() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO session (owner, session_id, conversation_id, started_at) VALUES (?, ?, ?, ?)",
                (owner_number(db, owner), session_id, conversation_id, microseconds(now)),
            )
            return added.rowcount == 1

    def end_session(self, session_id: str, conversation_id: str, *, now: datetime) -> None:
        """A session ends. The wire does not say whose; nothing is read here."""
        with self._database.write() as db:
            db.execute(
                "UPDATE session SET ended_at = ? WHERE session_id = ? AND conversation_id = ? AND ended_at IS NULL",
                (microseconds(now), session_id, conversation_id),
            )

    def add_bundle(self, bundle: Bundle) -> None:
        """Keep what is about to be pushed, and why."""
        with self._database.write() as db:
            added = db.execute(
                "INSERT INTO bundle (owner, bundle_id, kind, pattern, decision_id, conversation_id, queries, items, "
                "pushed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    owner_number(db, bundle.owner),
                    bundle.bundle_id,
                    bundle.kind,
                    bundle.pattern,
                    bundle.decision_id,
                    bundle.conversation_id,
                    json_text(bundle.asked),
                    items_json(bundle.items),
                    microseconds(bundle.created_at),
                ),
            )
            # What old bundles held in full is in the turns; why they were pushed stays.
            db.execute(f"{IDS_ONLY} WHERE id = ?", ((added.lastrowid or 0) - IN_FULL,))

    def mark_used(self, bundle_ids: Iterable[str], item_ids: Sequence[str], *, now: datetime) -> None:
        """These bundles were shown to a model; of their items, those of ``item_ids`` that are theirs."""
        with self._database.write() as db:
            for bundle_id in bundle_ids:
                found = db.execute("SELECT items, used_items FROM bundle WHERE bundle_id = ?", (bundle_id,)).fetchone()
                if found is None:
                    continue
                held, used = item_ids_of(found[0]), json.loads(found[1])
                used += [item for item in dict.fromkeys(item_ids) if item in held and item not in used]
                db.execute(
                    "UPDATE bundle SET used_at = coalesce(used_at, ?), used_items = ? WHERE bundle_id = ?",
                    (microseconds(now), json_text(used), bundle_id),
                )

    def bundles(self, owner: Owner | None, *, decision_id: str | None = None, limit: int = 100) -> list[PushedBundle]:
        """What was pushed, newest first; ``owner`` None is everybody's, for the person at the machine."""
        customer_id, user_id = owner or (None, None)
        with self._database.read() as db:
            found = db.execute(
                "SELECT * FROM owned_bundle WHERE (?1 IS NULL OR (customer_id = ?1 AND user_id = ?2)) "
                "AND (?3 IS NULL OR decision_id = ?3) ORDER BY id DESC LIMIT ?4",
                (customer_id, user_id, decision_id, limit),
            ).fetchall()
        return [bundle_of(row) for row in found]

    def hit_rates(self, owner: Owner | None) -> list[HitRate]:
        """What became of what each pattern pushed, by pattern; ``owner`` None is everybody's."""
        customer_id, user_id = owner or (None, None)
        with self._database.read() as db:
            found = db.execute(
                "SELECT pattern, count(*), count(used_at), sum(json_array_length(items)), "
                "sum(json_array_length(used_items)) FROM owned_bundle "
                "WHERE items <> '[]' AND (?1 IS NULL OR (customer_id = ?1 AND user_id = ?2)) "
                "GROUP BY pattern ORDER BY pattern",
                (customer_id, user_id),
            ).fetchall()
        return [HitRate(*row) for row in found]

    def counts(self) -> dict[str, int]:
        """Rows by kind, for the person at the machine."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT (SELECT count(*) FROM owner), (SELECT count(*) FROM conversation), "
                "(SELECT count(*) FROM turn), (SELECT count(*) FROM event), (SELECT count(*) FROM session), "
                "(SELECT count(*) FROM bundle), (SELECT count(*) FROM bundle WHERE used_at IS NOT NULL)"
            ).fetchone()
        names = ("users", "conversations", "turns", "events", "sessions", "bundles", "bundles_used")
        return dict(zip(names, found, strict=True))

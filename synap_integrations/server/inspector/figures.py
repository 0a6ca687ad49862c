"""Figures about the whole: what adds up to what, and how long things took. Read from the rows themselves.

The delays are differences of stored times, so that they are there for the file of any application, running or not.
"""

from __future__ import annotations

from typing import Any, Final

from synap_integrations.server.database import Database
from synap_integrations.server.records import moment

from .views import Delay, Sum

SAMPLES: Final = 300
_STORED: Final = """
    SELECT recorded_at, recorded_at - said_at FROM turn
    WHERE metadata LIKE '%"synap_occurred_at"%' AND recorded_at >= said_at AND recorded_at - said_at < 86400000000
    ORDER BY id DESC LIMIT ?
"""
_PUSHED: Final = """
    SELECT bundle.pushed_at, bundle.pushed_at - turn.recorded_at
    FROM bundle JOIN turn ON turn.owner = bundle.owner AND turn.event_id = bundle.decision_id
    WHERE bundle.pushed_at >= turn.recorded_at ORDER BY bundle.id DESC LIMIT ?
"""
_SHOWN: Final = """
    SELECT used_at, used_at - pushed_at FROM bundle WHERE used_at >= pushed_at ORDER BY used_at DESC LIMIT ?
"""


class Figures:
    """Counts and delays of one `Database`. Thread-safe. Raises sqlite3.Error."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sums(self) -> list[Sum]:
        """What is here, by kind, with the parts that make it, all as of one moment."""
        with self._database.read() as db:

            def parts(statement: str) -> tuple[tuple[str, int], ...]:
                return tuple((str(row[0]), int(row[1])) for row in db.execute(statement))

            def count(statement: str) -> int:
                return int(db.execute(statement).fetchone()[0])

            turns = count("SELECT count(*) FROM turn")
            by_role = parts("SELECT role, count(*) FROM turn GROUP BY role ORDER BY role DESC")
            counted = count("SELECT coalesce(sum(turns), 0) FROM conversation")
            indexed = count("SELECT count(*) FROM turn_words_docsize")
            bundles = count("SELECT count(*) FROM bundle")
            fates = parts(
                "SELECT CASE WHEN used_at IS NOT NULL THEN 'shown to a model' "
                "WHEN pattern = 'compaction' THEN 'excerpts' WHEN items = '[]' THEN 'empty answers' "
                "ELSE 'not shown' END, count(*) FROM bundle GROUP BY 1 ORDER BY 1 DESC"
            )
            events = count("SELECT count(*) FROM event")
            by_kind = parts("SELECT kind, count(*) FROM event GROUP BY kind ORDER BY kind")
        return [
            Sum("Turns, by role", turns, by_role),
            Sum("Turns, as their conversations count them", turns, (("counted", counted),)),
            Sum("Turns, as they can be searched", turns, (("indexed", indexed),)),
            Sum("Bundles, by what became of them", bundles, fates),
            Sum("Other events, by kind", events, by_kind),
        ]

    def delays(self) -> list[Delay]:
        """How long the last `SAMPLES` took of what can be timed."""
        return [
            Delay("Captured → stored", "from the application's clock to the commit here", self._samples(_STORED)),
            Delay("Stored → pushed", "from the commit of a turn to its bundle", self._samples(_PUSHED)),
            Delay("Pushed → shown", "from the bundle to the report that a model saw it", self._samples(_SHOWN)),
        ]

    def _samples(self, statement: str) -> tuple[Any, ...]:
        with self._database.read() as db:
            found = db.execute(statement, (SAMPLES,)).fetchall()
        return tuple((moment(ended), took / 1000) for ended, took in reversed(found))

"""Everything forgotten at once, under the eyes of whoever has the file open."""

from __future__ import annotations

from typing import Final

from synap_integrations.server.database import Database

_TABLES: Final = """
    SELECT name, sql, sql LIKE 'CREATE VIRTUAL TABLE%' FROM sqlite_schema
    WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
"""


def erase(database: Database) -> None:
    """Forget everything, and overwrite it on disk. Processes that have the file open go on with an empty one.

    Raises: sqlite3.Error, if another process holds it for too long.
    """
    with database.write() as db:
        db.execute("PRAGMA secure_delete = ON")
        tables = db.execute(_TABLES).fetchall()
        indexes = [name for name, _, virtual in tables if virtual]
        for name, made_by, virtual in tables:
            if virtual:  # an index of words alone admits no DELETE
                db.execute(f'DROP TABLE "{name}"')
                db.execute(made_by)
            elif not any(name.startswith(f"{index}_") for index in indexes):
                db.execute(f'DELETE FROM "{name}"')  # noqa: S608 - a table of ours
    with database.read() as db:
        # No page of what was stays: neither in the file nor in the log of changes beside it.
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

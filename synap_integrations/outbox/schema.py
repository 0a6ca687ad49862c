"""The tables of an outbox file, how its rows are read, and all longer statements on them, as text."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x53594E50  # "SYNP"
SCHEMA_VERSION: Final = 2
"""2: rows may be sealed. The tables of an older file are not altered: whoever adopts it takes its rows to a new one."""
READABLE: Final = frozenset({1, SCHEMA_VERSION})

SCHEMA: Final = """
CREATE TABLE turn(
    seq INTEGER PRIMARY KEY, event_id TEXT UNIQUE NOT NULL, conv INTEGER NOT NULL, scope TEXT NOT NULL,
    kind TEXT NOT NULL, framework TEXT, captured_at INTEGER NOT NULL, body BLOB NOT NULL, sealed_by TEXT,
    crc INTEGER NOT NULL,
    state INTEGER NOT NULL, first_write_at INTEGER, attempts INTEGER NOT NULL, not_before INTEGER, reason TEXT);
CREATE INDEX dead ON turn(seq) WHERE state = 2;
CREATE INDEX incoming ON turn(seq) WHERE state >= 4;
CREATE TABLE confirmed(conv INTEGER PRIMARY KEY, turns INTEGER NOT NULL);
CREATE TABLE seen(event_id TEXT PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO meta VALUES ('settled_to', 0);
PRAGMA application_id = 1398361680;
PRAGMA user_version = 2;
"""
INSERT: Final = """
INSERT INTO turn(event_id, conv, scope, kind, framework, captured_at, body, sealed_by,
                           seq, crc, state, first_write_at, attempts, not_before, reason)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM seen WHERE event_id = ?)
ON CONFLICT(event_id) DO NOTHING
"""
TAKE: Final = """
SELECT * FROM entry
WHERE state = 0 AND seq > ?
  AND conv NOT IN (SELECT value FROM json_each(?))
  AND kind NOT IN (SELECT value FROM json_each(?))
  AND seq NOT IN (SELECT value FROM json_each(?))
ORDER BY seq LIMIT ?
"""
VIEWS: Final = """
CREATE TEMP VIEW entry AS
SELECT event_id, conv, scope, kind, framework, captured_at, body, sealed_by,
       seq, crc, state, first_write_at, attempts, not_before, reason FROM turn;
CREATE TEMP VIEW measure AS
SELECT seq, event_id, state, length(body) + length(scope) + 200 AS size FROM turn;
"""
NOT_SEALED: Final = ("body, sealed_by,", "body, NULL AS sealed_by,")
"""How the columns of version 2 are read from version 1."""
MARK_WRITTEN: Final = """
UPDATE turn SET first_write_at = ? WHERE seq IN (SELECT value FROM json_each(?)) AND first_write_at IS NULL
"""
ARRIVED: Final = """
SELECT state - 4, count(*), total(size) FROM measure WHERE state >= 4 GROUP BY state
"""
FIND: Final = """
SELECT count(*), total(size), max(seq), json_group_array(event_id) FROM measure
WHERE event_id IN (SELECT value FROM json_each(?)) AND state = 0
"""
DELETE: Final = "DELETE FROM turn WHERE event_id IN (SELECT value FROM json_each(?))"
REMEMBER: Final = "INSERT OR REPLACE INTO seen SELECT value, ? FROM json_each(?)"
SETTLED_TO: Final = "UPDATE meta SET value = max(value, ?) WHERE key = 'settled_to'"
POSTPONE: Final = """
UPDATE turn SET attempts = attempts + 1, not_before = ?, reason = ?
WHERE event_id IN (SELECT value FROM json_each(?))
"""
REVIVE: Final = """
UPDATE turn SET state = 0, first_write_at = NULL, attempts = 0, not_before = NULL, reason = NULL
WHERE state IN (1, 2) AND seq IN (SELECT value FROM json_each(?))
"""
CONVERSATIONS: Final = "SELECT DISTINCT conv FROM turn WHERE event_id IN (SELECT value FROM json_each(?))"
FORGET_TOO_MANY: Final = "DELETE FROM seen WHERE rowid <= (SELECT max(rowid) FROM seen) - ?"
FORGET_OLD: Final = """
DELETE FROM seen WHERE rowid IN (SELECT rowid FROM seen ORDER BY rowid LIMIT 1000) AND until < ?
"""
NAMED: Final = """
SELECT event_id, seq, state, size FROM turn JOIN measure USING (seq, event_id, state),
    (SELECT ? AS first, ? AS second, ? AS third, ? AS fourth) AS named
WHERE CASE WHEN json_valid(scope) THEN
    coalesce(json_extract(scope, '$[0]') = first, first IS NULL)
    AND coalesce(json_extract(scope, '$[1]') = second, second IS NULL)
    AND coalesce(json_extract(scope, '$[2]') = third, third IS NULL)
    AND coalesce(json_extract(scope, '$[3]') = fourth, fourth IS NULL)
END
"""

-- What is known from turns: beside them, never instead of them. What rests on a turn goes when the turn goes.

CREATE TABLE statement (
    id            INTEGER PRIMARY KEY,
    owner         INTEGER NOT NULL REFERENCES owner,
    turn          INTEGER NOT NULL REFERENCES turn,  -- the first turn that says it
    statement_id  TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,      -- facts, preferences, temporal_events
    slot          TEXT NOT NULL,      -- what it is about
    value         TEXT NOT NULL,      -- what it says about that
    content       TEXT NOT NULL,      -- a sentence that can stand alone
    extraction    TEXT NOT NULL,      -- how it was found: pattern, model
    confidence    REAL NOT NULL,
    starts_at     INTEGER,            -- of an event; the end is exclusive
    ends_at       INTEGER,
    superseded_at INTEGER             -- since when it is no longer so
);
CREATE INDEX statement_by_owner ON statement (owner, kind, id);

CREATE TABLE statement_source (
    turn      INTEGER NOT NULL REFERENCES turn,
    statement INTEGER NOT NULL REFERENCES statement,
    PRIMARY KEY (turn, statement)
) WITHOUT ROWID;
CREATE INDEX statement_source_by_statement ON statement_source (statement);

CREATE VIRTUAL TABLE statement_words USING fts5 (
    owner, body, tokenize = 'porter unicode61 remove_diacritics 2'
);

-- Where a turn lies in the space of an encoder: float32, little endian.
CREATE TABLE vector (
    turn       INTEGER PRIMARY KEY REFERENCES turn,
    owner      INTEGER NOT NULL REFERENCES owner,
    encoder    TEXT NOT NULL,
    components BLOB NOT NULL
);
CREATE INDEX vector_by_owner ON vector (owner, turn);

-- How far a model has read a conversation, and until when a process is at it.
CREATE TABLE reading (
    conversation  INTEGER PRIMARY KEY REFERENCES conversation,
    position      INTEGER NOT NULL DEFAULT 0,
    claimed_until INTEGER NOT NULL DEFAULT 0
);

CREATE TRIGGER turn_is_gone AFTER DELETE ON turn BEGIN
    DELETE FROM vector WHERE turn = old.id;
    DELETE FROM statement WHERE turn = old.id;
    DELETE FROM statement WHERE id IN (SELECT statement FROM statement_source WHERE turn = old.id);
END;

CREATE TRIGGER statement_is_gone AFTER DELETE ON statement BEGIN
    DELETE FROM statement_source WHERE statement = old.id;
    DELETE FROM statement_words WHERE rowid = old.id;
END;

CREATE TRIGGER conversation_is_gone AFTER DELETE ON conversation BEGIN
    DELETE FROM reading WHERE conversation = old.id;
END;

CREATE VIEW owned_statement AS
    SELECT owner.customer_id, owner.user_id, statement.statement_id, statement.kind, statement.slot, statement.value,
           statement.content, statement.extraction, statement.confidence, statement.starts_at, statement.ends_at,
           statement.superseded_at, turn.conversation_id, turn.said_at, turn.recorded_at,
           (SELECT json_group_array(json_array(source.conversation, source.position, source.message_id))
            FROM statement_source JOIN turn AS source ON source.id = statement_source.turn
            WHERE statement_source.statement = statement.id) AS sources,
           statement.id
    FROM statement
    JOIN owned_turn AS turn ON turn.id = statement.turn
    JOIN owner ON owner.id = statement.owner AND owner.user_id = turn.user_id AND owner.customer_id = turn.customer_id;

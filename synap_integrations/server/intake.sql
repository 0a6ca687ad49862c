-- What was handed over in one piece, what was cut short, and what was forgotten.

-- Documents and transcripts. Their text is in turns: `conversation_id` has one for each paragraph or utterance.
CREATE TABLE intake (
    id              INTEGER PRIMARY KEY,
    owner           INTEGER NOT NULL REFERENCES owner,
    ingestion_id    TEXT NOT NULL UNIQUE,
    kind            TEXT NOT NULL,      -- a document type of the wire, or transcript
    name            TEXT NOT NULL,      -- what the application calls it
    conversation_id TEXT NOT NULL,
    digest          TEXT NOT NULL,      -- of what was handed over, to know it again
    taken_at        INTEGER NOT NULL,
    UNIQUE (owner, name)
);

-- Up to which turn a conversation is quoted in excerpts. The excerpt itself is made when it is read.
CREATE TABLE compaction (
    id            INTEGER PRIMARY KEY,
    conversation  INTEGER NOT NULL REFERENCES conversation,
    compaction_id TEXT NOT NULL UNIQUE,
    position      INTEGER NOT NULL,
    strategy      TEXT NOT NULL,
    target_tokens INTEGER,
    made_at       INTEGER NOT NULL
);
CREATE INDEX compaction_by_conversation ON compaction (conversation, id);

-- Event ids whose content is gone, as digests: a client that sends them again brings nothing back.
CREATE TABLE forgotten (event BLOB PRIMARY KEY) WITHOUT ROWID;

-- That something was deleted, and how many rows; never what or whose.
CREATE TABLE deletion (
    deletion_id TEXT PRIMARY KEY,
    report      TEXT NOT NULL,          -- a JSON object
    made_at     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER conversation_takes_with_it AFTER DELETE ON conversation BEGIN
    DELETE FROM compaction WHERE conversation = old.id;
    DELETE FROM intake WHERE owner = old.owner AND conversation_id = old.conversation_id;
END;

CREATE VIEW owned_compaction AS
    SELECT conversation.customer_id, conversation.user_id, conversation.conversation_id, compaction.compaction_id,
           compaction.position, compaction.strategy, compaction.target_tokens, compaction.made_at,
           (SELECT count(*) FROM compaction AS earlier
            WHERE earlier.conversation = compaction.conversation AND earlier.id <= compaction.id) AS version
    FROM compaction JOIN owned_conversation AS conversation ON conversation.id = compaction.conversation;

CREATE VIEW owned_intake AS
    SELECT owner.customer_id, owner.user_id, intake.ingestion_id, intake.kind, intake.name, intake.conversation_id,
           intake.digest, intake.taken_at
    FROM intake JOIN owner ON owner.id = intake.owner;

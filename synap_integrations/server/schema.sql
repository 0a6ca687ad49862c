-- What a local Synap remembers. Times are microseconds since 1970, UTC; ids are opaque text, '' is "no customer".
-- Everything that belongs to somebody carries `owner`, and every read names it.

CREATE TABLE owner (
    id          INTEGER PRIMARY KEY,
    customer_id TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    UNIQUE (customer_id, user_id)
);

CREATE TABLE conversation (
    id              INTEGER PRIMARY KEY,
    owner           INTEGER NOT NULL REFERENCES owner,
    conversation_id TEXT NOT NULL,
    own_name        TEXT,               -- what the application calls it, where that is no UUID
    session_id      TEXT NOT NULL,      -- the newest session
    turns           INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (owner, conversation_id)
);
CREATE INDEX conversation_by_id ON conversation (conversation_id);
CREATE INDEX conversation_by_name ON conversation (own_name);
CREATE INDEX conversation_by_age ON conversation (owner, updated_at);

-- Turns, word for word. `event_id` is the idempotency key and is kept as long as the turn is.
CREATE TABLE turn (
    id           INTEGER PRIMARY KEY,
    owner        INTEGER NOT NULL REFERENCES owner,
    conversation INTEGER NOT NULL REFERENCES conversation,
    position     INTEGER NOT NULL,      -- 1, 2, 3, … within the conversation
    message_id   TEXT NOT NULL UNIQUE,
    event_id     TEXT NOT NULL,
    role         TEXT NOT NULL,
    speaker      TEXT,                  -- the speaker's name, where the application gave one
    content      TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    metadata     TEXT NOT NULL,         -- a JSON object
    said_at      INTEGER NOT NULL,
    recorded_at  INTEGER NOT NULL,
    UNIQUE (conversation, position),
    UNIQUE (owner, event_id)
);
CREATE INDEX turn_by_age ON turn (owner, id);

-- Words only; the text stays in `turn`. Owner and conversation are tokens of digits, which the stemmer leaves alone.
CREATE VIRTUAL TABLE turn_words USING fts5 (
    owner, conversation, speaker, body, content = '', tokenize = 'porter unicode61 remove_diacritics 2'
);

-- Whatever else happened: tool calls and results, thoughts, requests, what was shown to a model. Never a turn.
CREATE TABLE event (
    id              INTEGER PRIMARY KEY,
    owner           INTEGER NOT NULL REFERENCES owner,
    event_id        TEXT NOT NULL,
    kind            TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    session_id      TEXT NOT NULL,
    body            TEXT NOT NULL,      -- a JSON object
    occurred_at     INTEGER NOT NULL,
    UNIQUE (owner, event_id)
);

CREATE TABLE session (
    id              INTEGER PRIMARY KEY,
    owner           INTEGER NOT NULL REFERENCES owner,
    session_id      TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    UNIQUE (owner, session_id, conversation_id)
);

-- What was pushed, why, and whether a model saw it.
CREATE TABLE bundle (
    id              INTEGER PRIMARY KEY,
    owner           INTEGER NOT NULL REFERENCES owner,
    bundle_id       TEXT NOT NULL UNIQUE,
    kind            TEXT NOT NULL,
    pattern         TEXT NOT NULL,      -- the rule that made it
    decision_id     TEXT NOT NULL,      -- the event that caused it
    conversation_id TEXT NOT NULL,      -- where that event happened
    queries         TEXT NOT NULL,      -- a JSON list
    items           TEXT NOT NULL,      -- a JSON list of item ids
    pushed_at       INTEGER NOT NULL,
    used_at         INTEGER,
    used_items      TEXT NOT NULL DEFAULT '[]'
);

-- What is read: everything with its owner beside it.
CREATE VIEW owned_conversation AS
    SELECT owner.customer_id, owner.user_id, conversation.*
    FROM conversation JOIN owner ON owner.id = conversation.owner;

CREATE VIEW owned_turn AS
    SELECT owner.customer_id, owner.user_id, conversation.conversation_id, conversation.own_name,
           turn.position, turn.message_id, turn.event_id, turn.session_id, turn.role, turn.speaker, turn.content,
           turn.metadata, turn.said_at, turn.recorded_at, turn.conversation, turn.id
    FROM turn
    JOIN conversation ON conversation.id = turn.conversation
    JOIN owner ON owner.id = turn.owner AND owner.id = conversation.owner;

CREATE VIEW owned_event AS
    SELECT owner.customer_id, owner.user_id, event.* FROM event JOIN owner ON owner.id = event.owner;

CREATE VIEW owned_bundle AS
    SELECT owner.customer_id, owner.user_id, bundle.bundle_id, bundle.kind, bundle.pattern, bundle.decision_id,
           bundle.conversation_id, bundle.queries, bundle.items, bundle.pushed_at, bundle.used_at, bundle.used_items,
           bundle.id
    FROM bundle JOIN owner ON owner.id = bundle.owner;

-- Ids in the platform's form, and ways to rows that were looked for in the whole table.

-- Clients of the platform read the id of a memory as a UUID; those of patterns' statements were none.
UPDATE statement SET statement_id = lower(
    hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
    || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))
) WHERE instr(statement_id, ':');

CREATE INDEX session_by_id ON session (session_id);
CREATE INDEX bundle_by_conversation ON bundle (owner, conversation_id);
CREATE INDEX event_by_conversation ON event (owner, conversation_id);

"""What is handed over in one piece: documents and transcripts, kept as turns of a conversation of their own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from synap_integrations.errors import ConflictError, InvalidInputError
from synap_integrations.server.database import Database
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import NewTurn, Owner, Turn, microseconds, moment
from synap_integrations.server.rows import json_text, owner_number
from synap_integrations.server.store.turns import add_turn

from .pieces import Piece

_KNOWN: Final = "SELECT * FROM owned_intake WHERE customer_id = ? AND user_id = ? AND name = ?"
_BY_ID: Final = "SELECT * FROM owned_intake WHERE ingestion_id = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A document or transcript that was taken. ``again``: it had been taken before, word for word."""

    owner: Owner
    ingestion_id: str
    kind: str
    name: str
    conversation_id: str
    digest: str
    taken_at: datetime
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A document or transcript on its way in. ``conversation_id`` None: it becomes a conversation of its own."""

    owner: Owner
    kind: str
    name: str
    pieces: Sequence[Piece]
    conversation_id: str | None = None
    said_at: datetime | None = None
    metadata: Mapping[str, object]

    @property
    def digest(self) -> str:
        """The same for the same content, to know it again."""
        told = [[piece.role, piece.content, piece.speaker] for piece in self.pieces]
        return blake2b(json_text(told).encode(), digest_size=16).hexdigest()


class Intakes:
    """Documents and transcripts of one `Engine`. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def _database(self) -> Database:
        return self._engine.database

    def take(self, offered: Offered) -> Intake:
        """Keep it: all of it or nothing. The same again changes nothing.

        Raises: InvalidInputError, if it is empty; ConflictError, if its owner has something else under this name.
        """
        if not offered.pieces:
            message = "there is no text in it"
            raise InvalidInputError(message, details={"argument": "document"})
        now = microseconds(self._engine.now())
        with self._database.write() as db:
            known = db.execute(_KNOWN, (*offered.owner, offered.name)).fetchone()
            if known is not None:
                taken = _intake(known, again=True)
                if taken.digest != offered.digest:
                    message = f"there is something else under the name {offered.name!r}: take another name"
                    raise ConflictError(message, details={"argument": "document_id"})
                return taken
            ingestion_id = self._engine.new_id()
            conversation_id = offered.conversation_id or str(
                uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([*offered.owner, offered.kind, ingestion_id]))
            )
            for turn in _turns(offered, conversation_id, ingestion_id):
                add_turn(db, turn, self._engine.new_id(), self._engine.new_id(), now=now)
            db.execute(
                "INSERT INTO intake (owner, ingestion_id, kind, name, conversation_id, digest, taken_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    owner_number(db, offered.owner),
                    ingestion_id,
                    offered.kind,
                    offered.name,
                    conversation_id,
                    offered.digest,
                    now,
                ),
            )
        return Intake(
            owner=offered.owner,
            ingestion_id=ingestion_id,
            kind=offered.kind,
            name=offered.name,
            conversation_id=conversation_id,
            digest=offered.digest,
            taken_at=moment(now),
        )

    def found(self, ingestion_id: str) -> Intake | None:
        """What was taken under this id: whoever knows the id may ask."""
        with self._database.read() as db:
            row = db.execute(_BY_ID, (ingestion_id,)).fetchone()
        return _intake(row) if row else None

    def of(self, turn: Turn) -> Intake | None:
        """The document that this turn is a piece of."""
        ingestion_id = turn.metadata.get("synap_ingestion_id")
        return self.found(ingestion_id) if isinstance(ingestion_id, str) else None

    def turns(self, intake: Intake) -> list[Turn]:
        """Its pieces in order."""
        return self._engine.store.turns(intake.owner, intake.conversation_id, limit=-1)


def _turns(offered: Offered, conversation_id: str, ingestion_id: str) -> list[NewTurn]:
    return [
        NewTurn(
            owner=offered.owner,
            conversation_id=conversation_id,
            role=piece.role,
            content=piece.content,
            own_name=offered.name,
            speaker=piece.speaker,
            said_at=piece.said_at or offered.said_at,
            metadata={
                **offered.metadata,
                **piece.metadata,
                "synap_document_id": offered.name,
                "synap_document_type": offered.kind,
                "synap_ingestion_id": ingestion_id,
            },
        )
        for piece in offered.pieces
    ]


def _intake(row: Sequence[Any], *, again: bool = False) -> Intake:
    """The intake in a row of ``owned_intake``."""
    return Intake(
        owner=Owner(row[0], row[1]),
        ingestion_id=row[2],
        kind=row[3],
        name=row[4],
        conversation_id=row[5],
        digest=row[6],
        taken_at=moment(row[7]),
        again=again,
    )

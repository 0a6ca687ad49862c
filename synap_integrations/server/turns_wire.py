"""What both ways in, REST and stream, read from the wire in the same way: whose it is, and what the metadata marks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypedDict

from synap_integrations.model import Scope
from synap_integrations.wire.items import moment

from .records import Owner

_SAID_AT: Final = ("synap_occurred_at", "said_at", "timestamp")
_NAME_CHARS: Final = 100


class Marks(TypedDict):
    """What metadata says about a turn, None where it does not."""

    own_name: str | None
    speaker: str | None
    said_at: datetime | None


def owner_of(scope: Scope) -> Owner:
    """Whose memory this scope means; the scope names a user. No customer and an empty customer are the same."""
    assert scope.user_id is not None
    return Owner(scope.customer_id or "", scope.user_id)


def marks_of(metadata: Mapping[str, object]) -> Marks:
    """What metadata says about the turn; it is stored as it is in any case."""
    return Marks(
        own_name=_text(metadata.get("synap_conversation_id")),
        speaker=_text(metadata.get("speaker"), limit=_NAME_CHARS),
        said_at=next((found for name in _SAID_AT if (found := moment(metadata.get(name)))), None),
    )


def _text(value: object, *, limit: int = 512) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= limit else None

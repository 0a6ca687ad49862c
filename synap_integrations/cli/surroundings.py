"""What the inspector shows besides the database: the prompt as clients render it, the outboxes of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from synap_integrations.context.render import as_block
from synap_integrations.model import Context, ContextItem
from synap_integrations.outbox.inspect_files import outboxes
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.settings import Settings

if TYPE_CHECKING:
    from synap_integrations.server.inspector.surroundings import Outside
    from synap_integrations.server.records import Item

MARK: Final = "0" * 16


def outside(settings: Settings, *, file: str, writable: bool = True) -> Outside:
    """Everything around the Synap over this file."""
    from synap_integrations.server.inspector.surroundings import OutboxFigures, Outside  # noqa: PLC0415 - not for --help

    def waiting() -> list[OutboxFigures]:
        found = outboxes(settings.root, Sealing.of(settings))
        return [OutboxFigures(box.folder, box.waiting, box.dead_letters, box.oldest) for box in found]

    return Outside(file=file, writable=writable, block=block, mark=MARK, outboxes=waiting)


def block(items: Sequence[Item]) -> str:
    """Pushed items as a client puts them into a prompt."""
    known = (
        ContextItem(item.item_id, item.kind, text=item.content, score=item.relevance, said_at=item.said_at)
        for item in items
    )
    return as_block(Context(tuple(known)), nonce=MARK).text

"""Nothing captured is lost: a durable outbox, and the thread that delivers from it."""

from .counts import Counts
from .ephemeral import EphemeralOutbox
from .sqlite import SqliteOutbox

__all__ = ["Counts", "EphemeralOutbox", "SqliteOutbox"]

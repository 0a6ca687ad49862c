"""Nothing captured is lost: a durable outbox, and the thread that delivers from it."""

from .counts import Counts
from .ephemeral import EphemeralOutbox
from .erasure import Erased
from .sqlite import SqliteOutbox
from .worker import DeliveryWorker

__all__ = ["Counts", "DeliveryWorker", "EphemeralOutbox", "Erased", "SqliteOutbox"]

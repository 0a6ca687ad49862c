"""Speaks to a Synap platform, whichever it is."""

from .client import SynapClient
from .line import Timing
from .retry import Backoff
from .route import Route

__all__ = ["Backoff", "Route", "SynapClient", "Timing"]

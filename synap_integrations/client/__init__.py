"""Speaks to a Synap platform, whichever it is. Loaded lazily: `addresses` is needed before any network library is."""

from typing import TYPE_CHECKING

from synap_integrations.import_strings import lazily

if TYPE_CHECKING:
    from .client import SynapClient
    from .line import Timing
    from .retry import Backoff
    from .route import Route

__all__ = ["Backoff", "Route", "SynapClient", "Timing"]

_HOME = {
    name: f"{__name__}.{module}"
    for name, module in (("Backoff", "retry"), ("Route", "route"), ("SynapClient", "client"), ("Timing", "line"))
}
__getattr__ = lazily(__name__, _HOME)

"""Synap for LangChain, LangGraph and LlamaIndex: capture every turn, lose none, put context back into the prompt.

The public names stand here; each is loaded when it is first used, so that importing the package costs next to nothing
and loads no framework, no pydantic, no httpx and no grpc.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import SynapClient
    from .errors import (
        AuthenticationError,
        ConflictError,
        ContextNotFoundError,
        InsufficientCreditsError,
        InvalidInputError,
        ListeningAlreadyActiveError,
        ListeningNotActiveError,
        NetworkError,
        NetworkTimeoutError,
        RateLimitError,
        ServiceUnavailableError,
        SynapError,
        SynapPermanentError,
        SynapTransientError,
    )
    from .model import Scope
    from .runtime import Synap, flush, status
    from .scoping import context
    from .settings import Settings

__version__ = "0.1.0"

_HOME = {
    "Synap": ".runtime",
    "flush": ".runtime",
    "status": ".runtime",
    "SynapClient": ".client",
    "Scope": ".model",
    "Settings": ".settings",
    "context": ".scoping",
}

__all__ = [
    "AuthenticationError",
    "ConflictError",
    "ContextNotFoundError",
    "InsufficientCreditsError",
    "InvalidInputError",
    "ListeningAlreadyActiveError",
    "ListeningNotActiveError",
    "NetworkError",
    "NetworkTimeoutError",
    "RateLimitError",
    "Scope",
    "ServiceUnavailableError",
    "Settings",
    "Synap",
    "SynapClient",
    "SynapError",
    "SynapPermanentError",
    "SynapTransientError",
    "context",
    "flush",
    "status",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME.get(name, ".errors"), __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

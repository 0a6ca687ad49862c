"""Synap for LangChain, LangGraph and LlamaIndex: capture every turn, lose none, put context back into the prompt.

The public names stand here; each is loaded when it is first used, so that importing the package costs next to nothing
and loads no framework, no pydantic, no httpx and no grpc.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what `typing` says: its import takes longer than all of this
if TYPE_CHECKING:
    from .auto.switch import disable, enable
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
        OutcomeUnknownError,
        RateLimitError,
        ServiceUnavailableError,
        SynapError,
        SynapPermanentError,
        SynapTransientError,
        TlsHandshakeError,
    )
    from .guard import pause
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
    "pause": ".guard",
    "disable": ".auto.switch",
    "enable": ".auto.switch",
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
    "OutcomeUnknownError",
    "RateLimitError",
    "Scope",
    "ServiceUnavailableError",
    "Settings",
    "Synap",
    "SynapClient",
    "SynapError",
    "SynapPermanentError",
    "SynapTransientError",
    "TlsHandshakeError",
    "context",
    "disable",
    "enable",
    "flush",
    "pause",
    "status",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module  # noqa: PLC0415 - for whoever wants a name; `synap run` wants none

    return getattr(import_module(_HOME.get(name, ".errors"), __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""How a client of any make is called: with the words that its verbs take, and its exceptions as ours.

They are told apart by name, so that nobody's package has to be imported.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from synap_integrations import errors
from synap_integrations.errors import (
    NetworkError,
    NetworkTimeoutError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
    SynapPermanentError,
    SynapTransientError,
)
from synap_integrations.wire.faults import escaped


def accepted(verb: Callable[..., Any], words: Mapping[str, Any], *, newer: tuple[str, ...] = ()) -> dict[str, Any]:
    """The words that the verb takes; the ``newer`` ones only if it names them."""
    try:
        parameters = inspect.signature(verb).parameters.values()
    except (TypeError, ValueError):
        return {}
    named = {parameter.name for parameter in parameters}
    any_word = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return {name: value for name, value in words.items() if name in named or (any_word and name not in newer)}


async def called(verb: Callable[..., Any], words: Mapping[str, Any]) -> object:
    """What the verb answers, if it is a coroutine function or not. Raises: whatever it raises."""
    outcome = verb(**words)
    return await outcome if isinstance(outcome, Awaitable) else outcome


async def invoke(verb: Callable[..., Any], **words: object) -> object:
    """What the client answers.

    Raises: SynapError, whatever the client raised.
    """
    (outcome,) = await asyncio.gather(called(verb, words), return_exceptions=True)
    if isinstance(outcome, Exception):
        raise as_synap_error(outcome)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


_ALIKE: Final[Mapping[str, type[SynapError]]] = {
    "InstanceNotReadyError": ServiceUnavailableError,
    "InstanceBuildFailedError": ServiceUnavailableError,
}


def as_synap_error(error: Exception) -> SynapError:
    """The client's exception as one of ours: the same object, the class of the same name, or by its meaning."""
    if isinstance(error, SynapError):
        return error
    names = [base.__name__ for base in type(error).__mro__]
    message = f"{type(error).__name__}: {escaped(str(error))}"
    for name in names:
        kind = _ALIKE.get(name) or getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, SynapError):
            if issubclass(kind, RateLimitError | ServiceUnavailableError):
                return kind(message, retry_after=getattr(error, "retry_after_seconds", None))
            return kind(message)
    if isinstance(error, TimeoutError):
        return NetworkTimeoutError(message)
    if isinstance(error, OSError):
        return NetworkError(message)
    # A call that the client cannot take is no better the next time; anything else may be.
    return SynapPermanentError(message) if isinstance(error, TypeError | ValueError) else SynapTransientError(message)

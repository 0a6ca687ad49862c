"""Every error we raise, as one tree.

```
SynapError
├── SynapTransientError            try again: the same call can succeed later
│   ├── NetworkError               the platform could not be reached
│   │   ├── NetworkTimeoutError    it was reached, but did not answer in time
│   │   └── TlsHandshakeError      it is not who it should be, or nobody here can tell
│   ├── RateLimitError             it asked us to slow down
│   ├── ServiceUnavailableError    it answered with 5xx, or is being built
│   └── ListeningNotActiveError    no stream is open
└── SynapPermanentError            trying again changes nothing
    ├── InvalidInputError          an argument is wrong; raised before anything is sent where we can tell
    ├── AuthenticationError        the key is missing or refused
    ├── InsufficientCreditsError   the account is out of credits
    ├── ContextNotFoundError       there is no such conversation, memory or user
    ├── ConflictError              the platform holds something else under the same id
    ├── OutcomeUnknownError        a turn may have arrived or not, and nobody can tell
    └── ListeningAlreadyActiveError  ``listen`` was called twice
```

Only `SynapClient` raises these into an application. Callbacks, memory classes and middleware never do.

Source: docs.maximem.ai, ``/sdk-reference/errors``; the names are the platform's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class SynapError(Exception):
    """Something between the application and Synap went wrong. Catch this to catch all of ours."""

    code: ClassVar[str] = "synap_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, object] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})
        self.correlation_id = correlation_id


class SynapTransientError(SynapError):
    """The same call can succeed later. Delivery retries it by itself."""

    code = "transient"
    retryable = True


class SynapPermanentError(SynapError):
    """Trying again changes nothing: change the call, the key or the account."""

    code = "permanent"


class NetworkError(SynapTransientError):
    """The platform could not be reached. Check the network, the proxy and ``SYNAP_BASE_URL``."""

    code = "network"


class NetworkTimeoutError(NetworkError):
    """The platform did not answer in time."""

    code = "timeout"


class TlsHandshakeError(NetworkError):
    """The platform's certificate is not trusted here, is for another name or out of date, or it speaks no TLS that is
    safe. The message names the fix; behind a company's own authority that is ``SYNAP_CA_FILE``.
    """

    code = "tls_handshake"


class RateLimitError(SynapTransientError):
    """The platform asked us to slow down: wait ``retry_after`` seconds.

    ``limit`` and ``remaining`` are requests in the current window, None when the platform did not say.
    """

    code = "rate_limited"

    def __init__(  # noqa: PLR0913 - the documented attributes
        self,
        message: str,
        *,
        limit: int | None = None,
        remaining: int | None = None,
        retry_after: float | None = None,
        details: Mapping[str, object] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(message, details=details, correlation_id=correlation_id)
        self.limit = limit
        self.remaining = remaining
        self.retry_after = retry_after


class ServiceUnavailableError(SynapTransientError):
    """The platform answered, but cannot serve now. ``retry_after`` is in seconds, if it said so."""

    code = "service_unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        details: Mapping[str, object] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(message, details=details, correlation_id=correlation_id)
        self.retry_after = retry_after


class ListeningNotActiveError(SynapTransientError):
    """No stream is open. Call ``await client.instance.listen()`` first.

    ``another_way_in`` is set for what may go another way after so many seconds.
    """

    code = "listening_not_active"

    def __init__(
        self,
        message: str,
        *,
        another_way_in: float | None = None,
        details: Mapping[str, object] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(message, details=details, correlation_id=correlation_id)
        self.another_way_in = another_way_in


class InvalidInputError(SynapPermanentError):
    """An argument is wrong. The message names it and the fix."""

    code = "invalid_input"


class AuthenticationError(SynapPermanentError):
    """The key is missing or was refused. Set ``SYNAP_API_KEY``, or ``SYNAP_BASE_URL=local`` to need none."""

    code = "unauthorized"


class InsufficientCreditsError(SynapPermanentError):
    """The account is out of credits. ``details`` holds the balance and the address to top up, where given."""

    code = "insufficient_credits"


class ContextNotFoundError(SynapPermanentError):
    """There is no such conversation, memory or user on the platform."""

    code = "not_found"


class ConflictError(SynapPermanentError):
    """The platform holds something else under the same id."""

    code = "conflict"


class OutcomeUnknownError(SynapPermanentError):
    """A turn may have arrived or not, and the platform cannot be asked. `synap outbox retry` sends it all the same."""

    code = "unknown_outcome"


class ListeningAlreadyActiveError(SynapPermanentError):
    """``listen`` was called while a stream is open. Call ``stop_listening()`` first."""

    code = "listening_already_active"

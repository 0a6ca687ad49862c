"""From what a platform refuses with to our errors: the only mapper, for REST statuses and for the stream's.

| status | error | again? |
|---|---|---|
| 401, 403, UNAUTHENTICATED, PERMISSION_DENIED | AuthenticationError | no |
| 402, a credit reason with 429 or RESOURCE_EXHAUSTED | InsufficientCreditsError | no |
| 404, NOT_FOUND | ContextNotFoundError | no |
| 408, 504, DEADLINE_EXCEEDED | NetworkTimeoutError | yes |
| 409 while the instance is being built | ServiceUnavailableError | yes |
| 409, ALREADY_EXISTS, ABORTED | ConflictError | no |
| 413, 422 and 400, INVALID_ARGUMENT, OUT_OF_RANGE | InvalidInputError | no |
| 429, RESOURCE_EXHAUSTED | RateLimitError | yes |
| 425, 5xx, UNAVAILABLE and any status we do not know | ServiceUnavailableError | yes |
| 3xx | ServiceUnavailableError: redirects are not followed, the key would travel with them | yes |
| other 4xx, UNIMPLEMENTED | SynapPermanentError | no |

Source: maximem-synap 0.6.9, transport/http_client.py and transport/grpc_client.py, for the fields of a refusal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from synap_integrations.errors import (
    AuthenticationError,
    ConflictError,
    ContextNotFoundError,
    InsufficientCreditsError,
    InvalidInputError,
    NetworkTimeoutError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
    SynapPermanentError,
)

MIN_RETRY_AFTER_S: Final = 1.0
MAX_RETRY_AFTER_S: Final = 900.0
MAX_SAID_CHARS: Final = 200

_CREDIT_REASONS: Final = {"overages_disabled", "trial_limit_reached", "subscription_inactive", "insufficient_credits"}
_BEING_BUILT: Final = {"instance_not_ready", "instance_build_failed"}
_BY_STATUS: Final[Mapping[int, type[SynapError]]] = {
    400: InvalidInputError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: AuthenticationError,
    404: ContextNotFoundError,
    408: NetworkTimeoutError,
    409: ConflictError,
    413: InvalidInputError,
    422: InvalidInputError,
    425: ServiceUnavailableError,
    504: NetworkTimeoutError,
}
_BY_CODE: Final[Mapping[str, type[SynapError]]] = {
    "UNAUTHENTICATED": AuthenticationError,
    "PERMISSION_DENIED": AuthenticationError,
    "NOT_FOUND": ContextNotFoundError,
    "DEADLINE_EXCEEDED": NetworkTimeoutError,
    "ALREADY_EXISTS": ConflictError,
    "ABORTED": ConflictError,
    "INVALID_ARGUMENT": InvalidInputError,
    "OUT_OF_RANGE": InvalidInputError,
    "UNIMPLEMENTED": SynapPermanentError,
}


def rest_fault(
    status: int, headers: Mapping[str, str], body: bytes, *, correlation_id: str | None = None
) -> SynapError:
    """The error for an answer that is not a success. ``headers`` are looked up in lower case."""
    found = _fields(body)
    kind = _kind(status, _reason(found))
    message = f"the platform answered {status}"
    if 300 <= status < 400:
        message += ": redirects are not followed, the key would travel with them"
    elif said := _said(found, body):
        message += f": {said}"
    more: dict[str, Any] = {}
    if issubclass(kind, RateLimitError | ServiceUnavailableError):
        more["retry_after"] = retry_after_s(headers.get("retry-after") or found.get("retry_after_seconds"))
    if issubclass(kind, RateLimitError):
        more["limit"] = _whole(headers.get("x-ratelimit-limit") or headers.get("ratelimit-limit"))
        more["remaining"] = _whole(headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining"))
    return kind(message, details={"status": status, **found}, correlation_id=correlation_id, **more)


def _kind(status: int, reason: str | None) -> type[SynapError]:
    if status == 429:
        return InsufficientCreditsError if reason in _CREDIT_REASONS else RateLimitError
    if status == 409 and reason in _BEING_BUILT:
        return ServiceUnavailableError
    if 400 <= status < 500:
        return _BY_STATUS.get(status, SynapPermanentError)
    return _BY_STATUS.get(status, ServiceUnavailableError)


def stream_fault(code: str, details: str = "", trailers: Mapping[str, str] | None = None) -> SynapError:
    """The error for a stream that ended with a status; ``code`` is the name of the gRPC status."""
    trailers = trailers or {}
    found: dict[str, object] = {"status": code, **{k: v for k, v in trailers.items() if k.startswith("credit-")}}
    message = f"the stream ended with {code}" + (f": {escaped(details)}" if details else "")
    if code == "RESOURCE_EXHAUSTED":
        if trailers.get("credit-reason") in _CREDIT_REASONS:
            return InsufficientCreditsError(message, details=found)
        return RateLimitError(message, retry_after=retry_after_s(trailers.get("retry-after")), details=found)
    if code in _BY_CODE:
        return _BY_CODE[code](message, details=found)
    return ServiceUnavailableError(message, retry_after=retry_after_s(trailers.get("retry-after")), details=found)


def retry_after_s(raw: object, *, now: datetime | None = None) -> float | None:
    """``Retry-After`` in seconds, between 1 s and 15 min; None if there is none or nobody can read it.

    Whole seconds, a fraction and an HTTP date are understood. A moment in the past means: soon.
    """
    if raw is None or isinstance(raw, bool):
        return None
    try:
        seconds = float(str(raw))
    except ValueError:
        try:
            moment = parsedate_to_datetime(str(raw))
        except (ValueError, IndexError, TypeError, OverflowError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)


def escaped(words: str) -> str:
    """Somebody else's words on one line, without control or direction characters, at most 200 characters."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in words[: MAX_SAID_CHARS * 2])
    return line if len(line) <= MAX_SAID_CHARS else line[:MAX_SAID_CHARS] + "…"


def _fields(body: bytes) -> dict[str, Any]:
    """What the body says, with the parts of a ``detail`` object beside the rest."""
    try:
        found = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    detail = found.get("detail")
    return {**found, **detail} if isinstance(detail, dict) else found


def _reason(found: Mapping[str, Any]) -> str | None:
    for name in ("reason", "error", "code"):
        if isinstance(value := found.get(name), str):
            return value
    return None


def _said(found: Mapping[str, Any], body: bytes) -> str:
    for name in ("message", "detail", "error"):
        value = found.get(name)
        if isinstance(value, str) and value:
            return escaped(value)
        if isinstance(value, list) and value:
            return escaped(json.dumps(value, default=str))
    return "" if found else escaped(body[: MAX_SAID_CHARS * 4].decode("utf-8", "replace"))


def _whole(raw: str | None) -> int | None:
    return int(raw) if raw and raw.isascii() and raw.isdigit() else None

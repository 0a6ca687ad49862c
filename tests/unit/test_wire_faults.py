"""Every refusal has its error, and what the platform asked for is read whatever form it has."""

import json
from datetime import UTC, datetime

import pytest

from synap_integrations import errors
from synap_integrations.wire.faults import escaped, rest_fault, retry_after_s, stream_fault

NOW = datetime(2026, 5, 16, 12, 0, tzinfo=UTC)

REST = [
    (400, {}, errors.InvalidInputError),
    (401, {}, errors.AuthenticationError),
    (402, {"reason": "overages_disabled"}, errors.InsufficientCreditsError),
    (403, {}, errors.AuthenticationError),
    (404, {}, errors.ContextNotFoundError),
    (405, {}, errors.SynapPermanentError),
    (408, {}, errors.NetworkTimeoutError),
    (409, {}, errors.ConflictError),
    (409, {"error": "instance_not_ready", "retry_after_seconds": 7}, errors.ServiceUnavailableError),
    (409, {"detail": {"code": "instance_build_failed"}}, errors.ServiceUnavailableError),
    (413, {}, errors.InvalidInputError),
    (415, {}, errors.SynapPermanentError),
    (422, {}, errors.InvalidInputError),
    (425, {}, errors.ServiceUnavailableError),
    (429, {}, errors.RateLimitError),
    (429, {"detail": {"reason": "trial_limit_reached"}}, errors.InsufficientCreditsError),
    (500, {}, errors.ServiceUnavailableError),
    (503, {}, errors.ServiceUnavailableError),
    (504, {}, errors.NetworkTimeoutError),
    (301, {}, errors.ServiceUnavailableError),
    (599, {}, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize(("status", "body", "kind"), REST)
def test_every_rest_status_has_its_error(status, body, kind):
    """The class tells what to do; the status and the platform's fields are in the details."""
    error = rest_fault(status, {}, json.dumps(body).encode(), correlation_id="syn_1")
    assert type(error) is kind
    assert error.details["status"] == status
    assert error.correlation_id == "syn_1"


@pytest.mark.parametrize(
    ("code", "trailers", "kind"),
    [
        ("UNAUTHENTICATED", {}, errors.AuthenticationError),
        ("PERMISSION_DENIED", {}, errors.AuthenticationError),
        ("RESOURCE_EXHAUSTED", {}, errors.RateLimitError),
        ("RESOURCE_EXHAUSTED", {"credit-reason": "overages_disabled"}, errors.InsufficientCreditsError),
        ("DEADLINE_EXCEEDED", {}, errors.NetworkTimeoutError),
        ("INVALID_ARGUMENT", {}, errors.InvalidInputError),
        ("UNIMPLEMENTED", {}, errors.SynapPermanentError),
        ("UNAVAILABLE", {}, errors.ServiceUnavailableError),
        ("INTERNAL", {}, errors.ServiceUnavailableError),
        ("UNKNOWN", {}, errors.ServiceUnavailableError),
    ],
)
def test_every_end_of_the_stream_has_its_error(code, trailers, kind):
    """A status that nobody knows is worth another try."""
    error = stream_fault(code, "why", trailers)
    assert type(error) is kind
    assert "why" in str(error)


def test_a_rate_limit_says_how_long_and_how_much():
    """Limit, what is left of it, and the seconds to wait."""
    headers = {"retry-after": "7", "x-ratelimit-limit": "60", "x-ratelimit-remaining": "0"}
    error = rest_fault(429, headers, b'{"detail": "slow down"}')
    assert (error.limit, error.remaining, error.retry_after) == (60, 0, 7.0)
    assert str(error) == "the platform answered 429: slow down"
    unsaid = rest_fault(429, {"x-ratelimit-limit": "many"}, b"")
    assert (unsaid.limit, unsaid.remaining, unsaid.retry_after) == (None, None, None)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("3", 3.0),
        (3, 3.0),
        ("2.5", 2.5),
        ("0", 1.0),
        ("-5", 1.0),
        ("1e9", 900.0),
        ("99999999999999999999", 900.0),
        ("inf", 900.0),
        ("nan", None),
        ("Sat, 16 May 2026 12:00:30 GMT", 30.0),
        ("Sat, 16 May 2026 11:00:00 GMT", 1.0),
        ("Sat, 16 May 2199 11:00:00 GMT", 900.0),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
        ("Sat, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_read_in_every_form(raw, seconds):
    """Whole, fraction, date, past, far future and nonsense; always within 1 s and 15 min."""
    assert retry_after_s(raw, now=NOW) == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"<html>nginx</html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[1]",
        b'"text"',
        b'{"detail": [{"msg": "bad"}]}',
        b"",
    ],
    ids=range(8),
)
def test_any_body_can_be_a_refusals_body(body):
    """Nothing in it breaks the error; its words are on one line."""
    error = rest_fault(503, {}, body)
    assert isinstance(error, errors.ServiceUnavailableError)
    assert len(str(error)) < 300
    assert str(error).isprintable()


def test_somebody_elses_words_stay_on_one_line():
    """No line break, escape sequence or direction mark reaches a log."""
    assert escaped("a\nb\x1b[31m\u202ec") == "a\ufffdb\ufffd[31m\ufffdc"
    assert len(escaped("x" * 10_000)) == 201

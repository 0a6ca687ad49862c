"""Every error we raise, as one tree."""

import pytest

import synap_integrations
from synap_integrations import errors

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_whether_to_try_again(kind: type[errors.SynapError]) -> None:
    """Each has its code and details, is transient or permanent, and ``retryable`` agrees with that."""
    error = kind("what is wrong, and the fix", details={"argument": "role"}, correlation_id="syn_1")
    assert isinstance(error, errors.SynapError)
    assert error.retryable == isinstance(error, errors.SynapTransientError)
    assert (error.details, error.correlation_id, str(error)) == (
        {"argument": "role"},
        "syn_1",
        "what is wrong, and the fix",
    )


def test_codes_are_distinct() -> None:
    """A log line can be searched by code."""
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_public_and_drawn(kind: type[errors.SynapError]) -> None:
    """Whoever catches one finds it at the top of the package, and in the tree of the module's docstring."""
    assert getattr(synap_integrations, kind.__name__) is kind
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_timeout_is_a_network_error() -> None:
    """Code that waits for the network to come back handles both."""
    assert issubclass(errors.NetworkTimeoutError, errors.NetworkError)


def test_rate_limits_carry_their_numbers() -> None:
    """The documented attributes, in requests and seconds."""
    error = errors.RateLimitError("slow down", limit=60, remaining=0, retry_after=1.5)
    assert (error.limit, error.remaining, error.retry_after) == (60, 0, 1.5)

"""What breaks inside us stays inside us."""

import asyncio
import logging

import pytest

from synap_integrations.guard import Incidents, contained, incidents, is_quiet, quiet


@pytest.fixture(autouse=True)
def no_incidents():
    """Each test counts from zero."""
    incidents.clear()
    yield
    incidents.clear()


def test_a_fault_is_counted_and_goes_no_further() -> None:
    """The application sees nothing; the count says what happened where."""
    with contained("record"):
        raise ValueError("ours")
    with contained("record"):
        raise ValueError("again")
    assert incidents.counts() == {"record: ValueError": 2}


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_not_a_fault_passes(signal: type[BaseException]) -> None:
    """Interrupts, exits and cancellations belong to the application."""
    with pytest.raises(signal), contained("record"):
        raise signal
    assert incidents.counts() == {}


def test_one_cause_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in a hot loop does not flood the log, and the line carries no content."""
    with caplog.at_level(logging.WARNING, logger="synap_integrations"):
        for _ in range(100):
            with contained("callbacks"):
                raise KeyError("private text")
    assert len(caplog.records) == 1
    assert "private text" not in caplog.text
    assert incidents.counts() == {"callbacks: KeyError": 100}


def test_tests_can_ask_for_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """In strict mode a contained fault is raised, so that tests see it."""
    monkeypatch.setattr(incidents, "strict", True)
    with pytest.raises(ValueError, match="ours"), contained("record"):
        raise ValueError("ours")


def test_counts_are_a_copy() -> None:
    """Whoever reads the counts cannot change them."""
    own = Incidents()
    own.note("record", ValueError())
    own.counts()["record: ValueError"] = 99
    assert own.counts() == {"record: ValueError": 1}


async def test_quiet_reaches_the_tasks_started_inside_and_no_others() -> None:
    """Delivery's own calls are not captured; the application's are."""
    outside = asyncio.Event()

    async def look() -> bool:
        await outside.wait()
        return is_quiet()

    ordinary = asyncio.create_task(look())
    with quiet():
        inner = asyncio.create_task(look())
    outside.set()
    assert (await inner, await ordinary, is_quiet()) == (True, False, False)

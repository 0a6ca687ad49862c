"""Work beside the work: woken, tried again, ended, and begun anew in a forked child."""

import os
import threading
import time

import pytest

from synap_integrations.guard import incidents
from synap_integrations.server import background
from synap_integrations.server.background import Background


@pytest.fixture
def made(monkeypatch):
    """Makes backgrounds with short pauses, and ends them."""
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.01)
    incidents.clear()
    all_of_them = []

    def make(chore) -> Background:
        all_of_them.append(Background("synap-chore", chore))
        return all_of_them[-1]

    yield make
    for one in all_of_them:
        one.close()
    incidents.clear()


def alive() -> bool:
    """Whether the thread is there."""
    return any(thread.name == "synap-chore" for thread in threading.enumerate())


def test_nothing_runs_before_it_is_woken(made) -> None:
    """Construction starts no thread."""
    made(lambda: None)
    assert not alive()


def test_a_chore_is_called_until_there_is_nothing_to_do(made) -> None:
    """Zero is "at once", None is "when woken"."""
    left = [1, 2, 3]
    chore = made(lambda: 0 if left and left.pop() else None)
    chore.wake()
    assert chore.drain(5)
    assert left == []
    left.append(4)
    chore.wake()
    assert chore.drain(5)
    assert left == []


def test_a_chore_that_wants_to_be_called_later_is(made) -> None:
    """Without being woken; waiting for that counts as having nothing to do."""
    calls = []
    chore = made(lambda: calls.append(time.monotonic()) or (0.02 if len(calls) < 3 else None))
    chore.wake()
    deadline = time.monotonic() + 5
    while len(calls) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(calls) == 3
    assert calls[1] - calls[0] >= 0.02


def test_a_chore_that_fails_is_tried_again_and_not_sooner_for_being_woken(made) -> None:
    """The fault is counted; pauses double."""
    calls = []

    def fails_thrice() -> None:
        calls.append(time.monotonic())
        if len(calls) < 4:
            raise ConnectionError("away")

    chore = made(fails_thrice)
    chore.wake()
    for _ in range(20):
        chore.wake()
    assert chore.drain(5)
    assert len(calls) in (4, 5)
    assert calls[1] - calls[0] >= 0.01
    assert calls[3] - calls[2] >= 0.04
    assert incidents.counts() == {"synap-chore: ConnectionError": 3}


def test_closing_ends_the_thread(made) -> None:
    """And waking it afterwards starts none."""
    chore = made(lambda: 60.0)
    chore.wake()
    assert chore.drain(5)
    chore.close()
    chore.wake()
    assert not alive()


def test_one_that_gets_no_thread_works_at_the_next_wake(made, monkeypatch) -> None:
    """As Python 3.12.0 to 3.12.2 refuse one at the end of the process: waking and closing raise nothing."""
    done = threading.Event()
    chore, other = made(done.set), made(lambda: None)

    def refuse(_) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        chore.wake()
        other.wake()
        other.close()
    assert not done.is_set()
    chore.wake()
    assert done.wait(20)


def test_a_forked_child_works_on_its_own(made) -> None:
    """The parent's thread stays behind; the child has one of its own when it is woken."""
    done = threading.Event()
    chore = made(done.set)
    chore.wake()
    assert chore.drain(5)
    done.clear()
    child = os.fork()
    if child == 0:
        chore.wake()
        os._exit(0 if chore.drain(5) and done.is_set() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not done.is_set()

"""`Synap.forget` reaches the platform as well, in time, and says what it could not reach."""

import time

import pytest
from socket_platform import HANG

from synap_integrations import Scope, Synap
from synap_integrations.model import UserMessage

ANA, BEN = Scope("c-1", "ana"), Scope("c-2", "ben")


def say(memory: Synap) -> None:
    """Two turns of one user, one of another."""
    for scope, text in ((ANA, "one"), (ANA, "two"), (BEN, "three")):
        memory.record(UserMessage(text), scope=scope)
    assert memory.flush(10)


def test_what_the_platform_holds_of_a_user_is_deleted_there(synap) -> None:
    """The user's conversation is gone, the other one's stays; a second time there is nothing."""
    say(synap.memory)
    forgotten = synap.memory.forget(Scope(user_id="ana"))
    assert (forgotten.platform.outcome, forgotten.platform.counts["turns"]) == ("forgotten", 2)
    assert forgotten.complete
    assert list(synap.transcript("c-1")) == []
    assert [line[1] for line in synap.transcript("c-2")] == ["three"]
    again = synap.memory.forget(Scope(user_id="ana"))
    assert (again.platform.outcome, again.complete) == ("nothing there", True)


@pytest.mark.parametrize("scope", [Scope("c-1", "ana"), Scope("c-1")], ids=["with-user", "without"])
def test_one_conversation_of_the_embedded_synap_is_forgotten(scope: Scope) -> None:
    """Asked on the delivery thread, like everything else."""
    with Synap() as memory:
        say(memory)
        forgotten = memory.forget(scope)
        assert forgotten.platform.place == "embedded"
        assert forgotten.platform.outcome == "forgotten"


def test_a_platform_that_does_not_answer_is_in_the_receipt_in_time(synap_platform) -> None:
    """What is here is deleted at once; the receipt says what is not, and what to do."""
    with Synap(**synap_platform.address, shutdown_timeout_s=0.3) as memory:
        say(memory)
        synap_platform.rest_script += [HANG]
        began = time.monotonic()
        forgotten = memory.forget(Scope(user_id="ana"), timeout_s=0.5)
        assert time.monotonic() - began < 3
        assert (forgotten.platform.outcome, forgotten.complete) == ("not reached", False)
        assert "in time" in forgotten.platform.why
        assert "forget again" in forgotten.platform.fix


class Sdk:
    """A client that can record, and delete nothing."""

    def __init__(self) -> None:
        self.conversation = self.instance = self

    async def listen(self, **_: object) -> None: ...

    async def stop_listening(self) -> None: ...

    async def record_message(self, **_: object) -> dict[str, object]:
        return {}

    async def send_message(self, **_: object) -> None: ...


def test_a_client_that_cannot_delete_is_said(synap_platform) -> None:
    """Whoever brings a client of their own learns that the platform still has it."""
    with Synap(Sdk()) as memory:
        say(memory)
        forgotten = memory.forget(Scope(user_id="ana"))
    assert (forgotten.platform.place, forgotten.platform.outcome) == ("Sdk", "not reached")
    assert "cannot delete" in forgotten.platform.why

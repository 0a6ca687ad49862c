"""All stores keep the contract that delivery relies on."""

import base64

import pytest
from clocks import ManualClock

from synap_integrations.outbox import EphemeralOutbox, SqliteOutbox
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.secret import Secret
from synap_integrations.testing.contracts import OutboxStoreContract


@pytest.fixture
def clock():
    """Time stands still unless a test moves it."""
    return ManualClock()


class TestSqliteOutbox(OutboxStoreContract):
    """On disk."""

    @pytest.fixture
    def store(self, tmp_path, clock):
        """A store in a folder of its own."""
        store = SqliteOutbox(tmp_path / "outbox", max_rows=20, clock=clock)
        yield store
        store.close()


class TestSqliteOutboxWithPowerDurability(TestSqliteOutbox):
    """On disk, each commit synchronised."""

    @pytest.fixture
    def store(self, tmp_path, clock):
        """A store that survives a power cut."""
        store = SqliteOutbox(tmp_path / "outbox", max_rows=20, clock=clock, durability="power")
        yield store
        store.close()


class TestSealedOutbox(TestSqliteOutbox):
    """On disk, and nobody else can read it."""

    @pytest.fixture
    def store(self, tmp_path, clock):
        """A store that seals its rows."""
        key = Secret(base64.b64encode(b"k" * 32).decode())
        store = SqliteOutbox(tmp_path / "outbox", max_rows=20, clock=clock, sealing=Sealing([key]))
        yield store
        store.close()


class TestEphemeralOutbox(OutboxStoreContract):
    """In memory."""

    @pytest.fixture
    def store(self, clock):
        """A store without a file."""
        store = EphemeralOutbox(max_rows=20, clock=clock)
        yield store
        store.close()

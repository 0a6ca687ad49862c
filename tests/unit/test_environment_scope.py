"""Whose a run is where only the environment says it."""

import logging

import pytest

from synap_integrations import Scope
from synap_integrations.runtime.environment import environment_scope


def test_a_line_end_from_a_mounted_secret_is_no_part_of_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file brings along around the id is left out; nothing but blanks is not said."""
    monkeypatch.setenv("SYNAP_USER_ID", "ana\n")
    monkeypatch.setenv("SYNAP_CUSTOMER_ID", " acme \r\n")
    monkeypatch.setenv("SYNAP_CONVERSATION_ID", " \n")
    assert environment_scope() == Scope(None, "ana", customer_id="acme")


def test_an_id_that_no_platform_takes_is_named_once_and_left_out(monkeypatch, caplog) -> None:
    """It would make every turn a dead letter; the others still count."""
    monkeypatch.setenv("SYNAP_USER_ID", "an\x01na")
    monkeypatch.setenv("SYNAP_CUSTOMER_ID", "acme-of-this-test")
    with caplog.at_level(logging.WARNING):
        assert [environment_scope() for _ in range(3)] == [Scope(None, customer_id="acme-of-this-test")] * 3
    (warning,) = caplog.messages
    assert "SYNAP_USER_ID" in warning
    assert "\x01" not in warning

"""Tests of an application, run by pytest in a process of its own."""

import chat
import pytest


@pytest.mark.parametrize("number", range(2))
def test_parrot_says_what_it_was_told(number):
    """The application's own test."""
    assert chat.ask(f"checked-{number}", "hello") == "You said: hello"

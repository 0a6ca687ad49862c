"""A real model for the question that is shown, and its faults in one line: they are the user's to put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained, incidents


def named(name: str) -> BaseChatModel:
    """The model of this name (``provider:name``), as LangChain makes it; it finds its key in the environment.

    Raises: InvalidInputError, if the name, the provider's package or the key is missing.
    """
    if not all(name.partition(":")):
        message = f"--model {name}: give provider:name, such as openai:gpt-5"
        raise InvalidInputError(message)
    with blamed_on(name):
        return init_chat_model(name)


@contextmanager
def blamed_on(name: str) -> Iterator[None]:
    """Turn whatever the model raises, in error classes that nobody here knows, into one InvalidInputError."""
    known, reason, done = incidents.counts(), "", False
    with contained("model"):
        try:
            yield
            done = True
        except (ImportError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
    if not done:
        causes = [cause.partition(": ")[2] for cause, count in incidents.counts().items() if count != known.get(cause)]
        message = f"--model {name}: {reason or ', '.join(causes)}; its package and your own key for it are needed"
        raise InvalidInputError(message)

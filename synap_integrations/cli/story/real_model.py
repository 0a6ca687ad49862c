"""A real model for the question that is shown, and its faults in one line: they are the user's to put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Self

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained, incidents


@dataclass(frozen=True, slots=True)
class RealModel:
    """A chat model and what the user called it."""

    name: str
    chat: BaseChatModel

    @classmethod
    def named(cls, name: str) -> Self:
        """The model ``provider:name``, as LangChain makes it; it finds its key in the environment.

        Raises: InvalidInputError, if the name, the provider's package or the key is missing.
        """
        if not all(name.partition(":")):
            message = f"--model {name}: give provider:name, such as openai:gpt-5"
            raise InvalidInputError(message)
        with _blamed_on(name):
            chat = init_chat_model(name)
        return cls(name, chat)

    def blamed(self) -> AbstractContextManager[None]:
        """Whatever the model raises in here becomes one InvalidInputError that names it."""
        return _blamed_on(self.name)


@contextmanager
def _blamed_on(name: str) -> Iterator[None]:
    # Providers' packages have error classes of their own, which nobody here knows.
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

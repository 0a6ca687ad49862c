"""Models for a local Synap that runs as a command: made by functions that the command line names."""

from __future__ import annotations

from synap_integrations.ports import Lent
from synap_integrations.settings import Settings

from .user_objects import made


def lent_by(*, embeddings: str | None, extractor: str | None) -> Lent:
    """What the functions ``module:factory`` of these names make; modules are also looked for in the current folder.

    Raises: InvalidInputError, if there is no such function, or if it fails.
    """
    return Lent(
        _made("--embeddings", embeddings), _made("--extractor", extractor), Settings.read().extraction_max_tokens
    )


def _made(option: str, name: str | None) -> object | None:
    return None if name is None else made(name, of=option)

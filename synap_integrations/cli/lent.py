"""Models for a local Synap that runs as a command: made by functions that the command line names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from synap_integrations.errors import InvalidInputError
from synap_integrations.ports import Lent
from synap_integrations.settings import Settings


def lent_by(*, embeddings: str | None, extractor: str | None) -> Lent:
    """What the functions ``module:factory`` of these names make; modules are also looked for in the current folder.

    Raises: InvalidInputError, if there is no such function, or if it fails.
    """
    return Lent(
        _made("--embeddings", embeddings), _made("--extractor", extractor), Settings.read().extraction_max_tokens
    )


def _made(option: str, name: str | None) -> object | None:
    if name is None:
        return None
    module, colon, factory = name.partition(":")
    if not (module and colon and factory):
        message = f"{option} takes module:factory, a function that makes the model, and not {name!r}"
        raise InvalidInputError(message)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), factory)()  # type: ignore[no-any-return]
    except (ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
        message = f"{option} {name}: {type(error).__name__}: {error}"
        raise InvalidInputError(message) from None

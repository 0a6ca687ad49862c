"""Objects of the user's that the command line names by the functions that make them."""

from __future__ import annotations

import sys
from pathlib import Path

from synap_integrations.errors import InvalidInputError
from synap_integrations.import_strings import is_name, named


def made(name: str, *, of: str) -> object:
    """What the function ``module:factory`` makes; modules are also looked for in the current folder. ``of`` is what
    takes the name, for the error.

    Raises: InvalidInputError, if there is no such function, or if it fails.
    """
    if not is_name(name):
        message = f"{of} takes module:factory, a function that makes it, and not {name!r}"
        raise InvalidInputError(message)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return named(name)()  # type: ignore[operator] # what cannot be called is a TypeError
    except (ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
        message = f"{of} {name}: {type(error).__name__}: {error}"
        raise InvalidInputError(message) from error

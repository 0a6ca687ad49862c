"""What the constructors of memories are given: pydantic drops names that it does not know, misspelt ones too."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from synap_integrations.errors import InvalidInputError
from synap_integrations.ports import Memory, checked_memory


def checked(synap: object, given: Collection[str], known: Collection[str]) -> Memory | None:
    """``synap`` as a memory; None for the process-wide Synap.

    Raises: InvalidInputError, if it is none, or something is given by a name that is not among those known.
    """
    if unknown := sorted(set(given) - set(known)):
        alike = get_close_matches(unknown[0], known, 1, cutoff=0.5)
        meant = f"; did you mean {alike[0]}?" if alike else f"; there are {', '.join(known)}"
        message = f"there is no argument {unknown[0]}{meant}"
        raise InvalidInputError(message, details={"argument": unknown[0]})
    return checked_memory(synap)

"""What the surroundings of a run say: whether to capture, and whose it is where nobody else says."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from functools import lru_cache
from typing import Final

from synap_integrations import scoping
from synap_integrations.model import Scope
from synap_integrations.settings import Settings

_log = logging.getLogger(__name__)

_IDS: Final = ("conversation_id", "user_id", "customer_id", "session_id")
_attributions: Final[deque[scoping.Attribution]] = deque(maxlen=64)


def note_attribution(scope: Scope) -> scoping.Attribution:
    """A user's turn begins in this scope, here and now: where that came from."""
    found = scoping.attributed(scope, _of_the_environment())
    _attributions.append(found)
    return found


def recent_attributions() -> list[scoping.Attribution]:
    """Where the identity of the newest user turns of this process came from, oldest first."""
    return list(_attributions)


def capturing() -> bool:
    """False while ``SYNAP_CAPTURE=0``."""
    return Settings.capturing()


def environment_scope() -> Scope:
    """What is said where nobody in the run says anything: by the function that identifies, then by the environment."""
    said = scoping.identified()
    here = _of_the_environment()
    return here if said is scoping.NOWHERE else scoping.merged(said, here)


def _of_the_environment() -> Scope:
    return _usable(Settings.identity())


@lru_cache(maxsize=64)
def _usable(scope: Scope) -> Scope:
    """The ids that the platform takes; each of the others is named once and counts as not said."""
    unusable = {name: None for name in _IDS if (value := getattr(scope, name)) and scoping.usable(value) is None}
    for name in unusable:
        _log.warning(
            "synap: SYNAP_%s cannot be used as an id and is ignored: it holds control characters or is too long",
            name.upper(),
        )
    return replace(scope, **unusable) if unusable else scope

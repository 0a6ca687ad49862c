"""What the surroundings of a run say: whether to capture, and whose it is where nobody else says."""

from __future__ import annotations

from collections import deque
from typing import Final

from synap_integrations import scoping
from synap_integrations.model import Scope
from synap_integrations.settings import Settings

_attributions: Final[deque[scoping.Attribution]] = deque(maxlen=64)


def note_attribution(scope: Scope) -> scoping.Attribution:
    """A user's turn begins in this scope, here and now: where that came from."""
    found = scoping.attributed(scope, Settings.identity())
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
    return Settings.identity() if said is scoping.NOWHERE else scoping.merged(said, Settings.identity())

"""What the callbacks of all runs mean, as one story per conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations.langchain import identity
from synap_integrations.model import Scope

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


def captured_scope(config: RunnableConfig | None = None) -> Scope | None:
    """The scope under which a handler records the turn that this code is part of; None if nothing captures here.

    ``config`` is the config of the calling code where it has one; by default the surrounding run is meant. Asking
    settles who is talking: a user turn that waited for its identity is recorded before this returns.
    """
    run_id = identity.surrounding_run_id() if config is None else identity.run_id_in(config)
    return None if run_id is None else None

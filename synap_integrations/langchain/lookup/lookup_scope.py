"""On whose behalf a retriever, a tool or a node asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations import scoping
from synap_integrations.langchain import identity
from synap_integrations.langchain.capture.tracker import captured_scope

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from synap_integrations.model import Scope


def scope_for(stated: Scope, config: RunnableConfig | None = None) -> Scope:
    """Whose memory it is in the run of this config: what was stated, then whose turn is captured, then what the run
    says; what is said inside a turn for somebody else goes before the turn. Nothing that a model passes is part of it.
    """
    captured = captured_scope()
    if captured is None and config is not None:
        captured = captured_scope(config)
    if captured is not None:
        return scoping.within(stated, identity.scope_of_run(config, explicit=stated), captured)
    return identity.scope_of_run(config, explicit=stated)

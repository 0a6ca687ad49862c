"""Whose conversation is a run part of?

LangChain carries identity in several places, and none is visible everywhere: ``metadata`` reaches every start hook,
``configurable`` and LangGraph's runtime context only the code that runs inside the run, by way of a context variable.

Source: langchain_core 1.7.2, runnables/config.py, var_child_runnable_config and set_config_context
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

from langchain_core.runnables.config import var_child_runnable_config

from synap_integrations import runtime, scoping
from synap_integrations.langchain import graph
from synap_integrations.langchain.options import RunId
from synap_integrations.model import Scope

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_EMPTY: Final[Mapping[str, object]] = {}


def scope_of_run(config: RunnableConfig | None = None, *, explicit: Scope = scoping.NOWHERE) -> Scope:
    """Who is talking, as far as anybody says: field by field the first of ``explicit``, ``with context(...)``, the
    metadata and the configurable of ``config``, those of the surrounding run, its runtime context, the environment.

    The fields nobody names stay None.
    """
    given: Mapping[str, object] = config or _EMPTY
    return scoping.merged(
        explicit,
        scoping.ambient(),
        scoping.from_mapping(_part(given, "metadata")),
        _from_configurable(_part(given, "configurable")),
        from_surrounding_run(),
        runtime.environment_scope(),
    )


def stated(explicit: Scope, metadata: Mapping[str, object] | None) -> Scope:
    """What is known when a run starts, before any code of it runs."""
    return scoping.merged(explicit, scoping.ambient(), scoping.from_mapping(metadata) if metadata else scoping.NOWHERE)


def from_surrounding_run() -> Scope:
    """What the config of the run that this code is part of says, and its runtime context."""
    return scoping.merged(*parts_of_surrounding_run())


def parts_of_surrounding_run() -> tuple[Scope, Scope]:
    """What the metadata of the surrounding run says, and what its configurable and its runtime context say."""
    config = var_child_runnable_config.get()
    if config is None:
        return scoping.NOWHERE, scoping.NOWHERE
    carried = cast("Mapping[str, object]", config)
    return scoping.from_mapping(_part(carried, "metadata")), _from_configurable(_part(carried, "configurable"))


def surrounding_run_id() -> RunId | None:
    """The id of the run that this code is part of, None outside of all runs.

    It is the parent that a run forgets to name when it is started with callbacks of its own, or as a fallback.
    """
    config = var_child_runnable_config.get()
    return None if config is None else run_id_in(config)


def run_id_in(config: RunnableConfig) -> RunId | None:
    """The id of the run that this config was made for, None if it was made by hand."""
    run_id = getattr(config.get("callbacks"), "parent_run_id", None)
    return run_id.int if isinstance(run_id, UUID) else None


def _from_configurable(configurable: Mapping[str, object]) -> Scope:
    if not configurable:
        return scoping.NOWHERE
    return scoping.merged(
        scoping.from_mapping(configurable),
        scoping.from_mapping(graph.identity_in_runtime(configurable)),
    )


def _part(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = config.get(name)
    return part if isinstance(part, Mapping) else _EMPTY

"""Settings as keyword arguments, with their types: for editors, which complete them, and type checkers, which find the
one that is misspelt. Read by nobody at run time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from .secret import Secret


class SettingsArguments(TypedDict, total=False):
    """Each setting that `Synap` does not name among its own arguments. None counts as not given."""

    api_key: str | Secret | None
    base_url: str | None
    grpc_host: str | None
    grpc_port: int | None
    grpc_use_tls: bool | None
    ca_file: str | Path | None
    storage_path: str | Path | None
    capture: bool | None
    turns: Literal["rest", "stream"] | None
    conversation_id: str | None
    user_id: str | None
    customer_id: str | None
    session_id: str | None
    recall_timeout_s: float | None
    lookup_timeout_s: float | None
    context_max_tokens: int | None
    context: Literal["inject", "quarantine", "off"] | None
    context_levels: tuple[str, ...] | str | None
    inject: bool | None
    inject_max_tokens: int | None
    inject_timeout_ms: int | None
    hide_inputs: bool | None
    hide_outputs: bool | None
    hide_tools: bool | None
    sample_rate: float | None
    shutdown_timeout_s: float | None
    drain_on_sigterm_s: float | None
    dedupe_horizon_s: float | None
    capture_wait_s: float | None
    durability: Literal["process", "power"] | None
    on_unknown: Literal["send", "hold"] | None
    strict_order: bool | None
    outbox_max_rows: int | None
    outbox_max_mb: int | None
    extraction_max_tokens: int | None
    push_tool_results: bool | None
    connect_timeout_s: float | None
    request_timeout_s: float | None

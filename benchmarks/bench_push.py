"""How soon after a user's turn the bundle for it is in the context store, on the embedded Synap."""

from __future__ import annotations

import queue
import time

from contenders import embedded_synap
from measuring import REST_S, Effort, Figure, Report, Spread

from synap_integrations import Scope, Synap
from synap_integrations.model import AssistantMessage, ContextBundle, UserMessage

TARGET_MS = 10.0
HISTORY = 200
CONVERSATIONS = 5
SUBJECTS = ("a flight to Lisbon", "the hotel in Porto", "a table for two", "the train to Faro", "a present for Rui")


def measure(effort: Effort) -> Report:
    with embedded_synap() as synap:
        arrived = _arrivals(synap)
        for turn in range(effort.of(HISTORY)):
            synap.record(UserMessage(_question(turn)), scope=_scope(turn))
            synap.record(AssistantMessage(f"I noted that for day {turn}."), scope=_scope(turn))
        assert synap.flush(30)
        taken = [_turn_to_bundle(synap, arrived, turn) for turn in range(1000, 1000 + effort.of(300))]
    spread = Spread.of(taken).times(1e3)
    return Report(
        [Figure("user turn recorded to its bundle in the store", spread.median, "ms", TARGET_MS, spread=spread)]
    )


def _question(turn: int) -> str:
    return f"Can you arrange {SUBJECTS[turn % len(SUBJECTS)]} for day {turn}?"


def _scope(turn: int) -> Scope:
    return Scope(f"conversation-{turn % CONVERSATIONS}", "ana")


def _arrivals(synap: Synap) -> queue.SimpleQueue[tuple[float, ContextBundle]]:
    """What lands in the context store from now on, and when."""
    arrived: queue.SimpleQueue[tuple[float, ContextBundle]] = queue.SimpleQueue()
    desk = synap._desk  # noqa: SLF001 - the one place that every bundle passes
    apply = desk.apply

    def stamped(bundle: ContextBundle) -> bool:
        taken = apply(bundle)
        arrived.put((time.perf_counter(), bundle))
        return taken

    desk.apply = stamped
    return arrived


def _turn_to_bundle(synap: Synap, arrived: queue.SimpleQueue[tuple[float, ContextBundle]], turn: int) -> float:
    """Seconds from the call of `record` to the arrival of the bundle that answers the turn."""
    time.sleep(REST_S)
    while not arrived.empty():
        arrived.get_nowait()
    began = time.perf_counter()
    synap.record(UserMessage(_question(turn)), scope=_scope(turn))
    while True:
        at, bundle = arrived.get(timeout=10)
        if bundle.answers and _question(turn) in bundle.search_queries:
            return at - began

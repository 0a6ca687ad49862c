"""LangSmith: runs, as its client or its bulk export writes them, JSON or JSON lines.

Source: docs.langchain.com/langsmith, "Run (span) data format" and "Threads": the thread is in the run's metadata, under
``thread_id``, ``session_id`` or ``conversation_id``; ``session_id`` of the run itself is the project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synap_integrations.model import Scope
from synap_integrations.scoping import KEYS
from synap_integrations.transcripts.messages import Past

from .turns import an_object, objects_of, past, question_and_answer, text_at, time_at, unfolded

_NAMES = ("runs",)


def recognizes(document: object) -> bool:
    """True if these are LangSmith's runs."""
    found = objects_of(document, *_NAMES)
    return bool(found) and all("run_type" in run and "inputs" in run for run in found)


def read(document: object) -> Iterator[Past]:
    """Question and answer of each trace, oldest first: of its root, which is what a user saw of it."""
    found = [run for run in objects_of(document, *_NAMES) if not run.get("parent_run_id")]
    timed = [(time_at(run, "start_time"), run) for run in found]
    for start, run in sorted(timed, key=lambda pair: pair[0].timestamp() if pair[0] else 0.0):
        key, metadata = text_at(run, "id"), _metadata(run)
        scope = Scope(
            text_at(metadata, *KEYS["conversation_id"]) or f"langsmith:{text_at(run, 'trace_id') or key}",
            text_at(metadata, *KEYS["user_id"]),
            customer_id=text_at(metadata, *KEYS["customer_id"]),
        )
        for said in question_and_answer(run.get("inputs"), run.get("outputs")):
            at = start if said.role == "user" else time_at(run, "end_time") or start
            yield past(f"langsmith:{key}:{said.role}", scope, said.event(), at)


def _metadata(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return an_object(an_object(unfolded(run.get("extra"))).get("metadata"))

"""Memory as a retriever: what is remembered, as nodes for query engines and chat engines."""
# ruff: noqa: ANN401 - what is passed on to LlamaIndex may be anything

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from synap_integrations.llamaindex.lookup_scope import scope_here
from synap_integrations.llamaindex.recording import FRAMEWORK
from synap_integrations.model import Scope
from synap_integrations.ports import Answer
from synap_integrations.runtime.lookup_scope import Asker
from synap_integrations.runtime.search_options import SearchTerms, metadata_of, text_of
from synap_integrations.runtime.usage import record_used, used_of

_FOR_MODELS: Final = {"said_at", "type"}
"""Metadata that stands beside a node's text in a prompt; the rest is for programs."""


class SynapRetriever(BaseRetriever):
    """What is remembered about the query, best first: facts, preferences, episodes, emotions, temporal events.

    One object serves all users: whose memory it is, is found as `SynapCallbackHandler` finds it, where no id is given
    here. Each node has a score, and in its metadata ``type``, ``said_at`` and what else the platform says. A platform
    that does not answer within ``timeout_s`` seconds gives no nodes and is counted among the incidents of
    `Synap.status`; the query goes on.

    Args:
        synap: a `Synap` or the platform's SDK object; by default the process-wide `Synap`. ``sdk`` is the same.
        conversation_id: whose memory; likewise ``user_id``, ``customer_id`` and ``session_id``.
        types: only these types; by default all.
        max_results: most nodes, 1 to 200.
        mode: ``"fast"`` takes what the platform has pushed if that answers the query; ``"accurate"`` always asks.
        timeout_s: longest wait, by default `Settings.lookup_timeout_s`.

    Raises: InvalidInputError, when it is made.

    Source: llama_index.core 0.14.25, base/base_retriever.py, BaseRetriever

    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        synap: object | None = None,
        *,
        sdk: object | None = None,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
        types: Sequence[str] | None = None,
        max_results: int = 20,
        mode: str = "fast",
        timeout_s: float | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self._asker = Asker(
            synap if synap is not None else sdk,
            conversation_id=conversation_id,
            user_id=user_id,
            customer_id=customer_id,
            session_id=session_id,
        )
        self._terms = SearchTerms.checked(types=types, max_results=max_results, mode=mode)
        self._timeout_s = timeout_s

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if not query_bundle.query_str.strip():
            return []
        question, scope = self._terms.search(query_bundle.query_str), scope_here(self._asker.stated)
        return self._handed_over(self._asker.lookup.ask(question, scope=scope, timeout_s=self._timeout_s), scope)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if not query_bundle.query_str.strip():
            return []
        question, scope = self._terms.search(query_bundle.query_str), scope_here(self._asker.stated)
        return self._handed_over(await self._asker.lookup.aask(question, scope=scope, timeout_s=self._timeout_s), scope)

    def _handed_over(self, answer: Answer, scope: Scope) -> list[NodeWithScore]:
        found = nodes_of(answer)
        record_used(FRAMEWORK, self._asker.recorder, used_of(answer, [item.item_id for item in answer.items]), scope)
        return found


def nodes_of(answer: Answer) -> list[NodeWithScore]:
    """The items of an answer as nodes with scores, in their order."""
    found: list[NodeWithScore] = []
    for item in answer.items:
        metadata = metadata_of(item, answer)
        node = TextNode(
            id_=item.item_id,
            text=text_of(item),
            metadata=metadata,
            excluded_llm_metadata_keys=[name for name in metadata if name not in _FOR_MODELS],
            excluded_embed_metadata_keys=list(metadata),
        )
        found.append(NodeWithScore(node=node, score=item.score))
    return found

"""Memory as a retriever: what is remembered, as documents for chains that retrieve."""
# ruff: noqa: ANN401 - what is passed on to pydantic may be anything

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from pydantic import PrivateAttr

from synap_integrations.langchain.lookup.lookup_scope import scope_for
from synap_integrations.langchain.recording import FRAMEWORK
from synap_integrations.ports import Answer
from synap_integrations.runtime.lookup_scope import Asker
from synap_integrations.runtime.search_options import SearchTerms, metadata_of, text_of
from synap_integrations.runtime.usage import record_used, used_of

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun

    from synap_integrations.model import Scope


_CONFIG: Final[ContextVar[RunnableConfig | None]] = ContextVar("synap_retriever_config", default=None)


class SynapRetriever(BaseRetriever):
    """What is remembered about the query, best first: facts, preferences, episodes, emotions, temporal events.

    One object serves all users: whose memory it is, is found in the run as `SynapCallbackHandler` finds it, where no id
    is given here. Each document has its ``id``, and in its metadata ``type``, ``score``, ``said_at`` and what else the
    platform says. A platform that does not answer within ``timeout_s`` seconds gives no documents and is counted among
    the incidents of `Synap.status`; the chain goes on.

    Args:
        synap: a `Synap` or the platform's SDK object; by default the process-wide `Synap`. ``sdk`` is the same.
        types: only these types; by default all.
        max_results: most documents, 1 to 200.
        mode: ``"fast"`` takes what the platform has pushed if that answers the query; ``"accurate"`` always asks.
        timeout_s: longest wait, by default `Settings.lookup_timeout_s`.

    Raises: InvalidInputError, when it is made.

    Source: langchain_core 1.7.2, retrievers.py, BaseRetriever

    """

    conversation_id: str | None = None
    user_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    types: list[str] | None = None
    max_results: int = 20
    mode: str = "fast"
    timeout_s: float | None = None

    _asker: Asker = PrivateAttr()
    _terms: SearchTerms = PrivateAttr()

    def __init__(self, synap: object | None = None, *, sdk: object | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self._asker = Asker(
            synap if synap is not None else sdk,
            conversation_id=self.conversation_id,
            user_id=self.user_id,
            customer_id=self.customer_id,
            session_id=self.session_id,
        )
        self._terms = SearchTerms.checked(types=self.types, max_results=self.max_results, mode=self.mode)

    # LangChain hands the config's metadata on to the hooks below, but not its configurable, which may say whose it is.

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002 - LangChain's name
        """What is remembered about the query."""
        token = _CONFIG.set(config)
        try:
            return super().invoke(input, config, **kwargs)
        finally:
            _CONFIG.reset(token)

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002 - see `invoke`
        """`invoke` that waits without blocking the event loop."""
        token = _CONFIG.set(config)
        try:
            return await super().ainvoke(input, config, **kwargs)
        finally:
            _CONFIG.reset(token)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        if not query.strip():
            return []
        scope = scope_for(self._asker.stated, _CONFIG.get())
        answer = self._asker.lookup.ask(self._terms.search(query), scope=scope, timeout_s=self.timeout_s)
        return self._handed_over(answer, scope)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - see above
    ) -> list[Document]:
        if not query.strip():
            return []
        scope = scope_for(self._asker.stated, _CONFIG.get())
        answer = await self._asker.lookup.aask(self._terms.search(query), scope=scope, timeout_s=self.timeout_s)
        return self._handed_over(answer, scope)

    def _handed_over(self, answer: Answer, scope: Scope) -> list[Document]:
        found = documents_of(answer)
        record_used(FRAMEWORK, self._asker.recorder, used_of(answer, [item.item_id for item in answer.items]), scope)
        return found


def documents_of(answer: Answer) -> list[Document]:
    """The items of an answer as documents, in their order."""
    return [
        Document(id=item.item_id, page_content=text_of(item), metadata=metadata_of(item, answer))
        for item in answer.items
    ]

"""Capture: one handler in the call's config, and every turn of a chain is kept.

Run:     python examples/01_chain_with_handler.py
Prints:  the conversation, and what became of it: captured, delivered, nothing waiting.
"""

import tempfile

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler

prompt = ChatPromptTemplate.from_messages([("system", "You plan journeys."), ("human", "{question}")])
model = FakeListChatModel(responses=["Lisbon it is. Early flight or late?", "The early one, then: 6:40."])  # or yours
chain = prompt | model | StrOutputParser()


def main() -> None:
    # `Synap()` takes everything from the environment; here the embedded Synap keeps its files in a folder of this run.
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        handler = SynapCallbackHandler(synap)
        for question in ("I'd like to see Lisbon in June.", "Early, please."):
            answer = chain.invoke(
                {"question": question},
                config={"callbacks": [handler], "metadata": {"user_id": "ana", "conversation_id": "trip-1"}},
            )
            print(f"ana   {question}\nagent {answer}")

        synap.flush()
        status = synap.status()
        print(f"captured {status.captured} turns, delivered {status.delivered}, waiting {status.waiting}")


if __name__ == "__main__":
    main()

"""A chat endpoint: identity per request, the answer streamed, every turn captured, context in the prompt.

Run:     python examples/04_fastapi_chat.py            serves http://127.0.0.1:8000
         python examples/04_fastapi_chat.py --once     asks itself one question and ends
Prints:  with --once the streamed answer, and what became of the turns.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser

import synap_integrations
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

model = with_synap_memory(FakeListChatModel(responses=["Good morning, Ana. The ferry leaves at nine."]))  # or yours
chain = model | StrOutputParser()
handler = SynapCallbackHandler()  # one for all users, requests and event loops


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    synap_integrations.flush()


async def identity(conversation_id: str, x_user: Annotated[str, Header()]) -> AsyncIterator[None]:
    """Everything in this request belongs to this user and conversation, streaming included."""
    with synap_integrations.context(user_id=x_user, conversation_id=conversation_id):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/chat/{conversation_id}", dependencies=[Depends(identity)])  # noqa: FAST003 - identity() reads it
async def chat(question: str) -> StreamingResponse:
    words = chain.astream(question, config={"callbacks": [handler]})
    return StreamingResponse(words, media_type="text/plain")


def ask_once() -> None:
    with TestClient(app) as client:
        url = "/chat/c-1?question=When does the ferry leave?"
        with client.stream("POST", url, headers={"X-User": "ana"}) as response:
            print("ana  ", "When does the ferry leave?\nagent ", *response.iter_text(), sep="")
    status = synap_integrations.status()
    print(f"captured {status.captured} turns, delivered {status.delivered}, waiting {status.waiting}")


if __name__ == "__main__":
    ask_once() if "--once" in sys.argv else uvicorn.run(app)

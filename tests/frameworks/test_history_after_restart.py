"""A conversation goes on in another process: its earlier turns are read back from the embedded Synap's file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EQUIPMENT = Path(__file__).parents[1] / "equipment"

LLAMAINDEX = """
import sys
from llama_index.core.chat_engine import SimpleChatEngine
from llamaindex_models import ScriptedLLM
from synap_integrations import flush
from synap_integrations.llamaindex import SynapCallbackHandler, SynapMemory

SynapCallbackHandler()
llm = ScriptedLLM(sys.argv[2])
engine = SimpleChatEngine.from_defaults(llm=llm, memory=SynapMemory(user_id="ana", conversation_id="trip"))
engine.chat(sys.argv[1])
flush(20)
prompt = [[role, content or ""] for role, content in llm.asked[-1]]
"""

LANGCHAIN = """
import sys
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_models import WholeModel
from synap_integrations import flush
from synap_integrations.langchain import SynapCallbackHandler, SynapMemory

model = WholeModel(answers=[sys.argv[2]])
chain = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{input}")]) | model
memory = SynapMemory(user_id="ana", conversation_id="trip")
talking = RunnableWithMessageHistory(
    chain, lambda session_id: memory, input_messages_key="input", history_messages_key="history"
)
handler = SynapCallbackHandler(user_id="ana", conversation_id="trip")
config = {"configurable": {"session_id": "trip"}, "callbacks": [handler]}
talking.invoke({"input": sys.argv[1]}, config)
flush(20)
roles = {"human": "user", "ai": "assistant"}
prompt = [[roles.get(message.type, message.type), str(message.content)] for message in model.seen[-1]]
"""

ALONE = LANGCHAIN.replace(', "callbacks": [handler]', "")
"""The memory itself records, where no handler listens."""

BY_HAND = """
import sys
from synap_integrations import flush
from synap_integrations.langchain import SynapMemory

history = SynapMemory(user_id="ana", conversation_id="trip")
history.add_user_message(sys.argv[1])
roles = {"human": "user", "ai": "assistant"}
prompt = [[roles[message.type], message.content] for message in history.messages]
history.add_ai_message(sys.argv[2])
flush(20)
"""

END = """
import json
from synap_integrations.context.render import without_context
print(json.dumps([[role, without_context(content)] for role, content in prompt]))
"""


def prompt_of(program: str, said: str, answer: str) -> list[list[str]]:
    """What the model of one process saw, less the block of context."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program + END, said, answer],
        env=os.environ | {"PYTHONPATH": str(EQUIPMENT), "SYNAP_RECALL_TIMEOUT_S": "5", "SYNAP_LOOKUP_TIMEOUT_S": "30"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "program",
    [LLAMAINDEX, LANGCHAIN, ALONE, BY_HAND],
    ids=["llamaindex", "langchain", "langchain_alone", "langchain_by_hand"],
)
def test_a_new_process_has_the_turns_of_the_one_before(program: str) -> None:
    """Three processes, one conversation: each prompt holds what was said in those before it, once and in order."""
    if program is not LLAMAINDEX:
        pytest.importorskip("langchain_core")
    assert prompt_of(program, "I fly to Lisbon.", "Have fun.") == [["user", "I fly to Lisbon."]]
    assert prompt_of(program, "With Carla.", "Nice.") == [
        ["user", "I fly to Lisbon."],
        ["assistant", "Have fun."],
        ["user", "With Carla."],
    ]
    assert prompt_of(program, "Where do I fly?", "Lisbon.")[:4] == [
        ["user", "I fly to Lisbon."],
        ["assistant", "Have fun."],
        ["user", "With Carla."],
        ["assistant", "Nice."],
    ]

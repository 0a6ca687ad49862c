"""An agent of LlamaIndex with a tool: ``WAY CONVERSATION WORDS…``; says what its memory holds."""

import asyncio
import os
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.llms.openai import OpenAI

way, conversation, *turns = sys.argv[1:]
llm = OpenAI(model="gpt-4o", api_base=f"{os.environ['PROVIDER_URL']}/v1", api_key="sk-none", max_retries=0)
memory = ChatMemoryBuffer.from_defaults(chat_store_key=conversation, llm=llm)


def remind(day: str) -> str:
    """Say what is due on a day."""
    return f"Nothing on {day}."


async def main():
    """All turns, one after another."""
    agent = FunctionAgent(tools=[remind], llm=llm, system_prompt="You are Robin.")
    for said in turns:
        await agent.run(said, memory=memory)


if way == "agent":
    asyncio.run(main())
else:
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="You are Robin.")
    for said in turns:
        if way == "chat":
            engine.chat(said)
        else:
            list(engine.stream_chat(said).response_gen)
for message in memory.get_all():
    print(message.role.value, message.content)

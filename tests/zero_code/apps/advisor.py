"""An application that asks real clients of providers, in three ways, and keeps no memory of its own."""

import os

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.llms.openai import OpenAI

address = os.environ["PROVIDER_URL"]
KINDS = ("openai", "anthropic", "llamaindex")
PROMPT = "You are Robin."


@tool
def remind(day: str) -> str:
    """Say what is due on a day."""
    return f"Nothing on {day}."


def remind_me(day: str) -> str:
    """Say what is due on a day."""
    return f"Nothing on {day}."


openai = ChatOpenAI(model="gpt-5", base_url=f"{address}/v1", api_key="sk-none", max_retries=0)
anthropic = ChatAnthropic(model="claude-sonnet-4-5", base_url=address, api_key="sk-none", max_retries=0)
llm = OpenAI(model="gpt-4o", api_base=f"{address}/v1", api_key="sk-none", max_retries=0)
agents = {
    "openai": create_agent(openai, [remind], system_prompt=PROMPT),
    "anthropic": create_agent(anthropic, [remind], system_prompt=PROMPT),
}


def advise(kind, said, config=None):
    """One turn."""
    if kind == "llamaindex":
        memory = ChatMemoryBuffer.from_defaults(llm=llm)
        return str(SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt=PROMPT).chat(said))
    return agents[kind].invoke({"messages": [("user", said)]}, config)["messages"][-1].text


async def aadvise(kind, said, config=None):
    """One turn on an event loop."""
    if kind == "llamaindex":
        agent = FunctionAgent(tools=[remind_me], llm=llm, system_prompt=PROMPT, streaming=False)
        return str(await agent.run(said))
    return (await agents[kind].ainvoke({"messages": [("user", said)]}, config))["messages"][-1].text

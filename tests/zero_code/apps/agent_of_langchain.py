"""An agent with a tool and a checkpointer: ``PROVIDER CONVERSATION WORDS…``; says what its history holds."""

import asyncio
import os
import sys

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

provider, way, conversation, *turns = sys.argv[1:]
address = os.environ["PROVIDER_URL"]
if provider == "openai":
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="gpt-5", base_url=f"{address}/v1", api_key="sk-none", max_retries=0)
else:
    from langchain_anthropic import ChatAnthropic

    model = ChatAnthropic(model="claude-sonnet-4-5", base_url=address, api_key="sk-none", max_retries=0)


@tool
def remind(day: str) -> str:
    """Say what is due on a day."""
    return f"Nothing on {day}."


agent = create_agent(model, [remind], system_prompt="You are Robin.", checkpointer=InMemorySaver())
config = {"configurable": {"thread_id": conversation}, "metadata": {"user_id": "ana"}}
runner = asyncio.Runner()
for said in turns:
    asked = {"messages": [("user", said)]}
    if way == "invoke":
        agent.invoke(asked, config)
    elif way == "ainvoke":
        runner.run(agent.ainvoke(asked, config))
    else:
        list(agent.stream(asked, config, stream_mode="messages"))
runner.close()
for message in agent.get_state(config).values["messages"]:
    print(message.type, message.text.strip() or message.tool_calls[0]["name"])

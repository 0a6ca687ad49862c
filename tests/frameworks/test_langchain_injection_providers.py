"""Scenario 87: what the formatters of the providers make of messages with context, without any network."""

import json

import pytest
from injected import KNOWN, knowing
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_models import WholeModel, asking, call

from synap_integrations.langchain import SynapMemory, with_synap_memory

CACHED = SystemMessage(
    [
        {"type": "text", "text": "You are kind."},
        {"type": "text", "text": "A long handbook.", "cache_control": {"type": "ephemeral"}},
    ]
)
HISTORY = [CACHED, HumanMessage("first"), AIMessage("one")]
LAP = [
    HumanMessage("1+2?"),
    asking("", call("add", {"a": 1, "b": 2}, "call_1")),
    ToolMessage("3", tool_call_id="call_1"),
]


def anthropic(messages):
    """System blocks and (role, JSON of the content) of the messages."""
    module = pytest.importorskip("langchain_anthropic", reason="langchain-anthropic is not installed")
    payload = module.ChatAnthropic(model="claude-x", api_key="k", max_tokens=9)._get_request_payload(messages)
    return payload.get("system"), payload["messages"]


def openai(messages):
    """The same of OpenAI's chat completions."""
    module = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    payload = module.ChatOpenAI(model="gpt-x", api_key="k")._get_request_payload(messages)
    leading = [message for message in payload["messages"][:1] if message["role"] == "system"]
    return leading, payload["messages"][len(leading) :]


def google(messages):
    """The same of Gemini."""
    module = pytest.importorskip("langchain_google_genai.chat_models", reason="langchain-google-genai is not installed")
    system, contents = module._parse_chat_history(messages)
    plain = [content.model_dump(mode="json", exclude_none=True) for content in contents]
    return (system.model_dump(mode="json", exclude_none=True) if system else None), plain


def bedrock(messages):
    """The same of Bedrock's Converse."""
    module = pytest.importorskip("langchain_aws.chat_models.bedrock_converse", reason="langchain-aws is not installed")
    contents, system = module._messages_to_bedrock(messages)
    return system, contents


def shown(messages):
    """The messages as a model with memory passes them on."""
    model = with_synap_memory(WholeModel(answers=["x"]), knowing())
    model.invoke(messages)
    return model.seen[0]


def places(formatted):
    """Where context stands."""
    return [at for at, message in enumerate(formatted) if KNOWN in json.dumps(message, default=str)]


PROVIDERS = pytest.mark.parametrize("provider", [anthropic, openai, google, bedrock], ids=lambda it: it.__name__)


@PROVIDERS
@pytest.mark.parametrize("messages", [HISTORY + LAP[:1], HISTORY + LAP, LAP], ids=["question", "lap", "no system"])
def test_s87_formatters_accept_context_beside_the_question(provider, messages):
    """Context arrives in the user's own message; system prompt, roles and neighbours are what they were without it."""
    system_before, before = provider(messages)
    system, after = provider(shown(messages))
    (place,) = places(after)
    assert system == system_before
    assert [message["role"] for message in after] == [message["role"] for message in before]
    assert after[place]["role"] == "user"
    assert "1+2?" in json.dumps(after[place])
    assert [m for at, m in enumerate(after) if at != place] == [m for at, m in enumerate(before) if at != place]


@PROVIDERS
def test_s87_formatters_accept_context_of_a_history(provider):
    """The transient message that a history ends with is taken as the user's, directly before the question."""
    history = SynapMemory("c", synap=knowing()).messages
    _, formatted = provider([CACHED, *history, HumanMessage("1+2?")])
    assert [message["role"] for message in formatted] in (["user"], ["user", "user"])
    assert places(formatted) == [0]

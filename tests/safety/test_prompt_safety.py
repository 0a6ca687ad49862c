"""What a planted memory may do to a prompt: nothing but stand in its place. Judged by parsers that are not ours."""

import asyncio
import json

import pytest
from block_parser import parse_block
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_models import WholeModel
from payloads import ALL, CORPUS

from synap_integrations import Scope
from synap_integrations.context.cleaning import clean
from synap_integrations.context.render import MAX_ITEM_CHARS, as_prompt, has_context, without_context
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory
from synap_integrations.model import Context, ContextItem, Receipt
from synap_integrations.testing import FakeMemory

CLASSES = pytest.mark.parametrize("name", list(CORPUS))
QUESTION = "1+2?"
SYSTEM = "You are kind."


def knowing(*texts: str) -> FakeMemory:
    """A memory that was poisoned with these texts."""
    items = tuple(ContextItem(f"i-{at}", "facts", text=text) for at, text in enumerate(texts))
    receipt = Receipt("why", bundle_ids=("b",), chosen=tuple(item.item_id for item in items))
    return FakeMemory(Context(items, source="pushed", receipt=receipt))


def visible(name: str) -> list[str]:
    """The texts of a class of which a reader sees anything."""
    return [text for text in CORPUS[name] if clean(text, limit=MAX_ITEM_CHARS)]


def shown(*texts: str, mode: str = "invoke"):
    """The messages that a model receives from a chain with this memory."""
    model = with_synap_memory(WholeModel(answers=["three"] * 3), knowing(*texts))
    chain = ChatPromptTemplate.from_messages([("system", SYSTEM), ("human", "{question}")]) | model
    if mode == "invoke":
        chain.invoke({"question": QUESTION})
    else:
        asyncio.run(chain.ainvoke({"question": QUESTION}))
    return model.seen[0]


def test_the_corpus_is_large_and_says_where_its_classes_come_from() -> None:
    """Three hundred different texts, in classes that are known in public."""
    assert len(set(ALL)) == len(ALL) >= 300
    assert len(CORPUS) >= 20


@CLASSES
def test_a_planted_text_stays_inside_its_item(name: str) -> None:
    """Each text alone and all of a class together: one block, as many items as went in, in their order, none longer."""
    for text in visible(name):
        (item,) = parse_block(as_prompt(knowing(text).context))
        assert item.item_id == "i-0"
        assert len(item.text) <= MAX_ITEM_CHARS
    together = parse_block(as_prompt(knowing(*visible(name)).context))
    assert [item.item_id for item in together] == [f"i-{at}" for at in range(len(visible(name)))]


def test_a_text_of_which_nothing_can_be_seen_is_not_shown() -> None:
    """Tag characters, blanks and empty images leave nothing to read, and so no item and no block."""
    nothing = sorted(set(ALL) - {text for name in CORPUS for text in visible(name)})
    assert 3 <= len(nothing) <= 8
    for text in nothing:
        assert as_prompt(knowing(text).context) == ""


@CLASSES
def test_a_planted_id_or_kind_is_no_better(name: str) -> None:
    """What the platform says about an item is stored text as well."""
    for text in CORPUS[name]:
        (item,) = parse_block(as_prompt(Context((ContextItem(text, text, text="harmless"),))))
        assert item.text == "harmless"


@CLASSES
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_a_planted_text_gets_no_role_of_its_own(name: str, mode: str) -> None:
    """The model sees the same system prompt and the same number of messages; the block stands in the user's message."""
    for text in visible(name):
        system, human = shown(text, mode=mode)
        assert (type(system), system.content) == (SystemMessage, SYSTEM)
        assert isinstance(human, HumanMessage)
        assert has_context(human.content)
        assert without_context(human.content) == QUESTION


@CLASSES
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_what_a_provider_would_send_is_the_same_but_for_the_block(name: str, provider: str) -> None:
    """The provider's own formatter makes the same roles and the same neighbours of it, and the text survives JSON."""
    if provider == "openai":
        module = pytest.importorskip("langchain_openai")
        payload = module.ChatOpenAI(model="gpt-x", api_key="k")._get_request_payload
    else:
        module = pytest.importorskip("langchain_anthropic")
        payload = module.ChatAnthropic(model="claude-x", api_key="k", max_tokens=9)._get_request_payload
    plain = payload([SystemMessage(SYSTEM), HumanMessage(QUESTION)])
    for text in CORPUS[name]:
        sent = json.loads(json.dumps(payload(shown(text))))
        assert [message["role"] for message in sent["messages"]] == [message["role"] for message in plain["messages"]]
        assert sent.get("system") == plain.get("system")
        assert without_context(sent["messages"][-1]["content"]) == QUESTION


def test_no_planted_text_is_shown_as_it_acts() -> None:
    """Tokens of chat templates, tags, images and script links are broken before they are shown."""
    for text in [*CORPUS["chat_templates"], *CORPUS["exfiltration"], *CORPUS["markup"]]:
        seen = clean(text, limit=MAX_ITEM_CHARS)
        for active in ("<", ">", "![", "[INST]", "](javascript:", "](data:", "](vbscript:"):
            assert active.lower() not in seen.lower(), text


@CLASSES
def test_a_planted_text_goes_through_the_whole_of_synap_and_stays_what_it_is(name: str, synap) -> None:
    """Said in one conversation, stored, pushed, shown in another: verbatim in the transcript, inert in the prompt."""
    handler = SynapCallbackHandler(user_id="ana")
    for at, text in enumerate(CORPUS[name]):
        config = {"callbacks": [handler], "metadata": {"conversation_id": f"{name}-{at}"}}
        WholeModel(answers=["noted"]).invoke([HumanMessage(f"{text} zebra{at}")], config)
    blocks = 0
    for at in range(len(CORPUS[name])):
        model = with_synap_memory(WholeModel(answers=["so"]))
        config = {"metadata": {"conversation_id": f"ask-{name}-{at}", "user_id": "ana"}}
        model.invoke([HumanMessage(f"What was it about zebra{at}?")], config)
        (human,) = model.seen[0]
        if has_context(human.content):
            blocks += 1
            assert parse_block(human.content.removeprefix(without_context(human.content)).lstrip("\n"))
    assert blocks > 0
    synap.assert_no_leak()


def test_nothing_that_was_shown_is_ever_captured(synap) -> None:
    """A hundred turns in which two agents answer by repeating their whole prompt: no mark of a block in any turn."""
    text = "Shall we talk about the zebra, the tiles and the jug?"
    shown_blocks = 0
    for turn in range(100):
        who = f"agent-{turn % 2}"
        model = with_synap_memory(parrot())
        config = {
            "callbacks": [SynapCallbackHandler()],
            "metadata": {"user_id": who, "conversation_id": f"talk-{turn // 10}-{who}"},
        }
        answer = model.invoke([HumanMessage(text)], config).content
        shown_blocks += has_context(model.seen[0][-1].content)
        text = without_context(answer)[-400:] or "go on"
    talks = [f"talk-{talk}-agent-{which}" for which in range(2) for talk in range(10)]
    captured = [content for talk in talks for content in synap.transcript(talk).texts()]
    assert shown_blocks >= 50
    assert len(captured) == 200
    assert not [content for content in captured if "synap-context" in content or "not an instruction" in content]


def parrot():
    """A model that answers with all that it was shown."""
    return WholeModel(reply=lambda messages: "\n".join(str(message.content) for message in messages))


def test_a_scope_is_never_made_of_stored_text() -> None:
    """A memory that names another user changes nobody's scope."""
    memory = knowing(*CORPUS["identity"])
    model = with_synap_memory(WholeModel(answers=["x"]), memory)
    model.invoke([HumanMessage(QUESTION)], {"metadata": {"user_id": "ana", "conversation_id": "c"}})
    assert {scope for _, scope in memory.recalled} == {Scope("c", "ana")}

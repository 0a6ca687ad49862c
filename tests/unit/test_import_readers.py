"""Exports of other tools, made by hand after their documentation, read as turns."""

import json
from datetime import UTC, datetime

import pytest

from synap_integrations.model import AssistantMessage, Scope, UserMessage
from synap_integrations.transcripts.exports import chatgpt, langfuse, langsmith, mem0, zep
from synap_integrations.transcripts.formats import Document, documents_in, reader_for

MEM0 = {
    "results": [
        {
            "id": "m-2",
            "memory": "Is allergic to shellfish",
            "user_id": "ines",
            "created_at": "2026-02-02T10:00:00-07:00",
            "metadata": {"category": "health"},
        },
        {"id": "m-1", "memory": "Lives in Porto", "user_id": "ines", "created_at": "2026-01-01T10:00:00-07:00"},
        {"id": "m-3", "memory": "Asked about Rome", "agent_id": "guide", "run_id": "trip-7", "created_at": None},
        {"id": "m-4", "memory": "   ", "user_id": "ines"},
    ]
}
ZEP = {
    "threads": [
        {
            "thread_id": "t-1",
            "user_id": "ines",
            "messages": [
                {
                    "uuid": "z1",
                    "role": "user",
                    "name": "Ines",
                    "content": "I moved to Porto",
                    "created_at": "2026-01-01T10:00:00Z",
                },
                {"uuid": "z2", "role": "assistant", "content": "Noted.", "created_at": "2026-01-01T10:00:05Z"},
                {"uuid": "z3", "role": "tool", "content": '{"rows": 3}', "created_at": "2026-01-01T10:00:06Z"},
            ],
        },
        {
            "session_id": "s-2",
            "user_id": "mateo",
            "messages": [{"uuid": "z4", "role": "Mateo", "role_type": "user", "content": "Hello"}],
        },
    ]
}
LANGFUSE = [
    {
        "id": "tr-2",
        "timestamp": "2026-03-01T10:01:00.000Z",
        "sessionId": "chat-1",
        "userId": "ines",
        "input": {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "I am Ines"},
                {"role": "assistant", "content": "Hello Ines"},
                {"role": "user", "content": [{"type": "text", "text": "Where do I live?"}, {"type": "image_url"}]},
            ]
        },
        "output": {"role": "assistant", "content": "In Porto."},
    },
    {
        "id": "tr-1",
        "timestamp": "2026-03-01T10:00:00.000Z",
        "session_id": "chat-1",
        "user_id": "ines",
        "input": "I am Ines",
        "output": '{"content": "Hello Ines", "role": "assistant"}',
    },
    {"id": "tr-3", "timestamp": "2026-03-02T10:00:00.000Z", "input": None, "output": None},
]
LANGSMITH = [
    {
        "id": "run-2",
        "trace_id": "run-1",
        "parent_run_id": "run-1",
        "run_type": "llm",
        "inputs": {"messages": [["human", "I am Ines"]]},
        "outputs": {"generations": [[{"text": "Hello Ines"}]]},
    },
    {
        "id": "run-1",
        "trace_id": "run-1",
        "parent_run_id": None,
        "session_id": "11111111-the-project",
        "run_type": "chain",
        "start_time": "2026-03-01T10:00:00",
        "end_time": "2026-03-01T10:00:02",
        "extra": {"metadata": {"thread_id": "th-1", "user_id": "ines"}},
        "inputs": {"messages": [{"type": "human", "content": "I am Ines"}]},
        "outputs": {
            "messages": [
                {
                    "lc": 1,
                    "type": "constructor",
                    "id": ["langchain", "schema", "messages", "HumanMessage"],
                    "kwargs": {"content": "I am Ines"},
                },
                {
                    "lc": 1,
                    "type": "constructor",
                    "id": ["langchain", "schema", "messages", "AIMessage"],
                    "kwargs": {"content": "Hello Ines"},
                },
            ]
        },
    },
    {
        "id": "run-3",
        "trace_id": "run-3",
        "run_type": "chain",
        "start_time": "2026-03-01T11:00:00",
        "inputs": {"input": "And now?", "chat_history": []},
        "outputs": {"input": "And now?", "output": "Now it is eleven."},
    },
    {
        "id": "run-4",
        "trace_id": "run-4",
        "run_type": "llm",
        "start_time": "2026-03-01T12:00:00",
        "inputs": {"messages": [[["human", "Bye"]]]},
        "outputs": {
            "generations": [[{"text": "Bye bye", "message": {"kwargs": {"content": "Bye bye"}, "id": ["AIMessage"]}}]]
        },
    },
]


def chatgpt_node(name, parent, role, words, at, **more):
    """One node of the tree of an exported conversation."""
    message = {
        "id": name,
        "author": {"role": role},
        "create_time": at,
        "content": {"content_type": "text", "parts": [words]},
        "recipient": "all",
        "metadata": {},
    }
    return {"id": name, "parent": parent, "children": [], "message": message | more}


CHATGPT = [
    {
        "title": "Pottery",
        "conversation_id": "c-1",
        "create_time": 1767225600.0,
        "current_node": "a2",
        "mapping": {
            "root": {"id": "root", "parent": None, "children": ["sys"], "message": None},
            "sys": chatgpt_node("sys", "root", "system", "", None),
            "ctx": chatgpt_node(
                "ctx", "sys", "user", "My settings", None, metadata={"is_visually_hidden_from_conversation": True}
            ),
            "u1": chatgpt_node("u1", "ctx", "user", "How hot is a kiln?", 1767225600.5),
            "a1": chatgpt_node("a1", "u1", "assistant", "An answer that was regenerated", 1767225601.0),
            "call": chatgpt_node("call", "u1", "assistant", "search('kiln')", 1767225601.5, recipient="browser"),
            "tool": chatgpt_node("tool", "call", "tool", "1,300 degrees", 1767225602.0),
            "a2": chatgpt_node("a2", "tool", "assistant", "About 1,300 degrees.", 1767225603.0),
        },
    }
]
SAMPLES = {"mem0": MEM0, "zep": ZEP, "langfuse": LANGFUSE, "langsmith": LANGSMITH, "chatgpt": CHATGPT}


EXPORTS = {"mem0": mem0, "zep": zep, "langfuse": langfuse, "langsmith": langsmith, "chatgpt": chatgpt}


def told(name, document):
    """Conversation, user, and what was said by whom, in order."""
    return [
        (
            turn.scope.conversation_id,
            turn.scope.user_id,
            "user" if isinstance(turn.event, UserMessage) else "assistant",
            turn.event.content,
        )
        for turn in EXPORTS[name].read(document)
    ]


def test_memories_of_mem0_are_told_in_their_order_and_not_as_the_users_words() -> None:
    """Oldest first; a run is a conversation; nobody is said to have said them."""
    assert told("mem0", MEM0) == [
        ("mem0:trip-7", "guide", "assistant", "Asked about Rome"),
        ("mem0:memories", "ines", "assistant", "Lives in Porto"),
        ("mem0:memories", "ines", "assistant", "Is allergic to shellfish"),
    ]
    assert list(EXPORTS["mem0"].read(MEM0))[1].occurred_at == datetime.fromisoformat("2026-01-01T10:00:00-07:00")


def test_threads_and_sessions_of_zep_are_conversations() -> None:
    """Both generations of messages are read; what a tool said is no turn."""
    assert told("zep", ZEP) == [
        ("t-1", "ines", "user", "I moved to Porto"),
        ("t-1", "ines", "assistant", "Noted."),
        ("s-2", "mateo", "user", "Hello"),
    ]


def test_a_trace_of_langfuse_is_its_last_question_and_its_answer() -> None:
    """The history that each trace repeats is not told again; sessions are conversations, oldest trace first."""
    assert told("langfuse", LANGFUSE) == [
        ("chat-1", "ines", "user", "I am Ines"),
        ("chat-1", "ines", "assistant", "Hello Ines"),
        ("chat-1", "ines", "user", "Where do I live?"),
        ("chat-1", "ines", "assistant", "In Porto."),
    ]


def test_a_trace_of_langsmith_is_what_its_root_was_asked_and_answered() -> None:
    """Roots only; the thread of the metadata is the conversation and never the project; all shapes of messages."""
    assert told("langsmith", LANGSMITH) == [
        ("th-1", "ines", "user", "I am Ines"),
        ("th-1", "ines", "assistant", "Hello Ines"),
        ("langsmith:run-3", None, "user", "And now?"),
        ("langsmith:run-3", None, "assistant", "Now it is eleven."),
        ("langsmith:run-4", None, "user", "Bye"),
        ("langsmith:run-4", None, "assistant", "Bye bye"),
    ]


def test_of_a_chatgpt_conversation_the_branch_that_its_user_sees_is_read() -> None:
    """Regenerated answers, hidden settings and talk with tools are left out; times are kept."""
    assert told("chatgpt", CHATGPT) == [
        ("chatgpt:c-1", None, "user", "How hot is a kiln?"),
        ("chatgpt:c-1", None, "assistant", "About 1,300 degrees."),
    ]
    first = next(iter(EXPORTS["chatgpt"].read(CHATGPT)))
    assert first.occurred_at == datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)


def test_a_chatgpt_conversation_without_a_current_node_is_read_to_its_newest_message() -> None:
    """Older exports do not say where the conversation stands."""
    (conversation,) = CHATGPT
    without = {name: value for name, value in conversation.items() if name != "current_node"}
    assert [content for *_, content in told("chatgpt", [without])][-1] == "About 1,300 degrees."


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_export_is_recognized_as_what_it_is_and_as_nothing_else(name) -> None:
    """One reader claims a document, whole or as lines."""
    document = SAMPLES[name]
    assert [other for other, reader in EXPORTS.items() if reader.recognizes(document)] == [name]
    whole = [Document(1, json.loads(json.dumps(document)))]
    assert reader_for(whole, name=None).name == name


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_ids_are_the_same_each_time_and_tell_turns_apart(name) -> None:
    """What has been imported once can be known again."""
    first, again = ([turn.event_id for turn in EXPORTS[name].read(SAMPLES[name])] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first) > 0


@pytest.mark.parametrize("name", ["langfuse", "langsmith"])
def test_traces_may_be_json_lines(tmp_path, name) -> None:
    """Each trace on its own line is the same as all of them in a list."""
    file = tmp_path / "export.jsonl"
    file.write_text("".join(json.dumps(entry) + "\n" for entry in SAMPLES[name]), encoding="utf-8")
    documents = documents_in(file)
    reader = reader_for(documents, name=None)
    assert reader.name == name
    assert list(reader.read(documents, name="export")) == list(EXPORTS[name].read(SAMPLES[name]))


@pytest.mark.parametrize(
    "document",
    [None, 3, "text", [], {}, [1, None], {"results": 3}, {"mapping": {}}, [{"id": "x"}], {"messages": []}],
    ids=str,
)
def test_what_is_no_export_is_claimed_by_nobody(document) -> None:
    """Other JSON is somebody else's."""
    assert not [name for name, reader in EXPORTS.items() if reader.recognizes(document)]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_broken_entries_cost_only_themselves(name) -> None:
    """Whatever one field holds instead, reading goes on and raises nothing."""

    def spoiled(value, with_):
        if isinstance(value, dict):
            for key in value:
                yield value | {key: with_}
                for inner in spoiled(value[key], with_):
                    yield value | {key: inner}
        elif isinstance(value, list):
            for at, entry in enumerate(value):
                for inner in [with_, *spoiled(entry, with_)]:
                    yield [*value[:at], inner, *value[at + 1 :]]

    reader = EXPORTS[name]
    documents = [document for junk in (None, 7, "junk", [], {}, [[]]) for document in spoiled(SAMPLES[name], junk)]
    assert len(documents) > 100
    for document in documents:
        for turn in reader.read(document):
            assert isinstance(turn.scope, Scope)
            assert isinstance(turn.event, UserMessage | AssistantMessage)

"""What a client and a local Synap owe each other, check by check. Runs in the client's own environment.

`CHECKS` is the written run: a key and a sentence each. Keys ``trap-N`` are the traps for the author of a server, which
the contract of the wire lists; ``test_conformance.py`` sees that none is missing.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from conformance_world import LossyWay, RawLine, World, error_of, is_a, name, until

TYPES = {"facts", "preferences", "episodes", "emotions", "temporal_events"}
LARGE = 5 << 20


@dataclass(frozen=True)
class Check:
    """One promise. ``run`` gets the world and the driver, and raises AssertionError where it is broken."""

    key: str
    sentence: str
    run: Callable[[World, object], Awaitable[None]]


CHECKS: list[Check] = []


def check(key: str):
    """The function is a check, its docstring the sentence."""

    def kept(run):
        CHECKS.append(Check(key, run.__doc__, run))
        return run

    return kept


# --- calls -----------------------------------------------------------------------------------------------------


@check("initialize")
async def initialize(world, driver):
    """A client learns who it is, in the platform's form of ids."""
    async with driver.Session(world) as client:
        assert client.identity["instance_id"].startswith("inst_")
        assert client.identity["client_id"].startswith("cli_")


@check("record")
async def record(world, driver):
    """A recorded turn is stored once, word for word, and the count goes up."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        first = await client.record(chat, "I live in Lisbon 🙂", user=user, metadata={"channel": "web"})
        second = await client.record(chat, "Lovely", user=user, role="assistant", session_id="s-1")
        assert [first["conversation_message_count"], second["conversation_message_count"]] == [1, 2]
        assert first["message_id"] != second["message_id"]
        assert second["session_id"] == "s-1"
        assert first["recorded_at"]
        assert world.turns(chat) == ["I live in Lisbon 🙂", "Lovely"]


@check("lost-answer")
async def lost_answer(world, driver):
    """A turn whose answer is lost is stored once: who repeats the call repeats its id."""
    chat, user, event_id = name(), name(), name()
    async with LossyWay(world, b"/v1/conversations/messages") as way, driver.Session(way) as client:
        await client.record_surely(chat, "I moved to Porto", user=user, event_id=event_id)
        assert way.lost == 1
    assert world.turns(chat) == ["I moved to Porto"]
    async with driver.Session(world) as client:
        await client.record_surely(chat, "I moved to Porto", user=user, event_id=name())
    assert world.turns(chat) == ["I moved to Porto", "I moved to Porto"]


@check("batch")
async def batch(world, driver):
    """A batch is stored in its order and answered one by one."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        entry = {"conversation_id": chat, "user_id": user, "role": "user"}
        answer = await client.batch([entry | {"content": f"turn {number}"} for number in range(5)])
        assert (answer["total"], answer["succeeded"], answer["failed"]) == (5, 5, 0)
        assert [row["conversation_message_count"] for row in answer["results"]] == [1, 2, 3, 4, 5]
        assert world.turns(chat) == [f"turn {number}" for number in range(5)]


@check("prompt")
async def prompt(world, driver):
    """The conversation is ready for a prompt in each of the three styles."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        await client.record(chat, "I live in Lisbon", user=user)
        texts = set()
        for style in ("structured", "narrative", "bullet_points"):
            found = await client.prompt(chat, user=user, style=style)
            assert found["available"]
            assert "I live in Lisbon" in found["text"]
            texts.add(found["text"])
        assert len(texts) == 3


@check("fetch")
async def fetch(world, driver):
    """Each of the four levels is fetched by type and ranked, and shows what belongs to it alone."""
    async with driver.Session(world) as client:
        chat, user, customer = name(), name(), name()
        await client.record(chat, "The heron stands in the river", user=user, customer_id=customer)
        await client.create("The heron of the customer", document_type="document", customer_id=customer)
        await client.create("The heron of everybody", document_type="document", document_id=name())
        wanted = {
            "user": "The heron stands in the river",
            "conversation": "The heron stands in the river",
            "customer": "The heron of the customer",
        }
        ids = {"user": user, "customer": customer, "conversation": chat}
        for ranked in (False, True):
            for level, expected in wanted.items():
                named = {"customer": customer} if level == "customer" else {"user": user, "customer": customer}
                named |= {"conversation": chat} if level == "conversation" else {}
                found = await client.fetch(level, "heron", ranked=ranked, **named)
                assert expected in [item["content"] for item in found], (level, found)
                assert all(item["id"] for item in found)
                assert {item["kind"] for item in found} <= TYPES
            found = await client.fetch("client", "heron", ranked=ranked)
            assert "The heron of everybody" in [item["content"] for item in found]
            assert not {"The heron stands in the river", "The heron of the customer"} & {
                item["content"] for item in found
            }, ids


@check("unified")
async def unified(world, driver):
    """One fetch over all levels merges them, each thing once."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        for number in range(4):
            await client.record(chat, f"The otter swims in pool {number}", user=user)
        found = await client.unified("otter pool", user=user, conversation=chat, ranked=True)
        assert len({item["id"] for item in found}) == len(found) >= 4


@check("in-short")
async def in_short(world, driver):
    """An application that begins a conversation is told the last one in short, and that it is an excerpt."""
    async with driver.Session(world) as client:
        user = name()
        await client.record(name(), "The boiler in the cellar is loud.", user=user)
        told = await client.in_short(user=user, conversation=name())
        assert "The boiler in the cellar is loud." in told
        assert "excerpt" in told


@check("knows")
async def knows(world, driver):
    """What users say about themselves comes back as facts, preferences and a profile; nobody's profile is nothing."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        await client.record(chat, "I live in Lisbon. I love black coffee.", user=user)
        kinds = {item["kind"] for item in await client.fetch("user", "live in Lisbon black coffee", user=user)}
        assert {"facts", "preferences", "episodes"} <= kinds, kinds
        assert "Lisbon" in await client.profile(user)
        assert await client.profile(name()) is None


@check("documents")
async def documents(world, driver):
    """A document is taken, found, changed and deleted by the ids that its status names."""
    async with driver.Session(world) as client:
        user, document = name(), name()
        more = {"document_type": "document", "document_id": document, "user_id": user}
        taken = await client.create("The pump has a green button.", **more)
        assert taken["document_id"] == document
        status = await client.status(taken["ingestion_id"])
        assert (status["status"], status["memories_created"]) == ("completed", 1)
        (memory_id,) = status["memory_ids"]
        held = await client.memory(memory_id)
        assert held["content"] == "The pump has a green button."
        assert held["source_document_id"] == document
        changed = await client.update(memory_id, "The pump has a red lever.", "replace")
        assert changed["content"] == "The pump has a red lever."
        assert [item["content"] for item in await client.fetch("user", "red lever", user=user)] == [changed["content"]]
        assert (await client.delete(memory_id))["memory_id"] == memory_id
        assert is_a(await error_of(client.memory(memory_id)), "ContextNotFoundError")
        assert await client.fetch("user", "red lever pump", user=user) == []


@check("upload")
async def upload(world, driver):
    """A text file, or text, is taken from a form, word for word; what is no text is refused and not guessed at."""
    async with driver.Session(world) as client:
        user = name()
        text = "The kiln is in Mill Lane.\r\n\r\nÖffnet um neun."
        taken = await client.upload(user=user, file=("kiln.txt", text.encode()), metadata={"shelf": "3"})
        status = await client.status(taken["ingestion_id"])
        assert (status["status"], status["memories_created"]) == ("completed", 2)
        held = [(await client.memory(memory_id))["content"] for memory_id in status["memory_ids"]]
        assert held == ["The kiln is in Mill Lane.", "Öffnet um neun."]
        taken = await client.upload(user=user, text="The glaze is 5 & a half = blue")
        (found,) = await client.fetch("user", "glaze", user=user)
        assert found["content"] == "The glaze is 5 & a half = blue"
        picture = client.upload(user=user, file=("kiln.png", b"\x89PNG\r\n\x1a\n\xff\xfe"))
        assert is_a(await error_of(picture), "InvalidInputError")


@check("memory-ids")
async def memory_ids(world, driver):
    """Whatever a fetch shows can be read and deleted as a memory by its id, what is known from a turn included."""
    async with driver.Session(world) as client:
        user = name()
        await client.record(name(), "I live in Lisbon. I love jazz.", user=user)
        found = await client.fetch("user", "live Lisbon love jazz", user=user)
        assert {item["kind"] for item in found} == {"episodes", "facts", "preferences"}, found
        for item in found:
            assert (await client.memory(item["id"]))["content"] == item["content"]
        (fact,) = [item for item in found if item["kind"] == "facts"]
        await client.delete(fact["id"])
        left = await client.fetch("user", "live Lisbon love jazz", user=user)
        assert {item["kind"] for item in left} == {"episodes", "preferences"}


@check("document-batch")
async def document_batch(world, driver):
    """Several documents are taken at once; another text under a name that is taken is refused and said."""
    async with driver.Session(world) as client:
        user, first = name(), name()
        entry = {"document_type": "document", "user_id": user}
        texts = [("one", first), ("two", name()), ("other than one", first)]
        answer = await client.create_all([entry | {"document": text, "document_id": by} for text, by in texts])
        assert (answer["total"], answer["succeeded"], answer["failed"]) == (3, 2, 1)
        assert [result["status"] for result in answer["results"]] == ["completed", "completed", "failed"]
        clash = client.create("another", document_type="document", user_id=user, document_id=first)
        assert is_a(await error_of(clash), "ConflictError")


@check("forget")
async def forget(world, driver):
    """What a description matches is shown first and then forgotten, for one user alone."""
    async with driver.Session(world) as client:
        user, other = name(), name()
        for whose in (user, other):
            await client.record(name(), "my locker code is 9731", user=whose)
        preview = await client.forget("locker code", user=user, mode="preview")
        assert preview["status"] == "preview"
        assert [found["content"] for found in preview["candidates"]] == ["my locker code is 9731"]
        done = await client.forget("locker code", user=user, mode="direct")
        assert (done["status"], len(done["deleted_ids"])) == ("deleted", 1)
        assert (await client.forget("locker code", user=user, mode="preview"))["status"] == "nothing_matches"
        assert await client.fetch("user", "locker code", user=other)


@check("delete-data")
async def delete_data(world, driver):
    """A user's data is counted, deleted and gone from the file; the report can be read again."""
    async with driver.Session(world) as client:
        chat, user, canary = name(), name(), f"canary{name().replace('-', '')}"
        await client.record(chat, f"the word is {canary}", user=user)
        preview = await client.delete_data("user", user_id=user, dry_run=True)
        assert (preview["status"], preview["counts"]["turns"]) == ("dry_run", 1)
        assert world.turns(chat)
        done = await client.delete_data("user", user_id=user, confirm=user)
        assert (done["status"], done["fully_removed"]) == ("complete", True)
        assert (await client.deletion(done["deletion_id"]))["status"] == "complete"
        on_disk = b"".join(path.read_bytes() for path in world.folder.glob("synap.db*"))
        assert canary.encode() not in on_disk
        assert await client.fetch("user", canary, user=user) == []


@check("transcript")
async def transcript(world, driver):
    """A transcript is taken once: the same is a duplicate, another a conflict."""
    async with driver.Session(world) as client:
        call, user = f"+351-{name()}", name()
        text = "User: I live in Lisbon.\nAssistant: Lovely."
        first = await client.ingest(call, text, user=user)
        assert (first["status"], first["turns_recorded"]) == ("queued", 2)
        again = await client.ingest(call, text, user=user)
        assert (again["status"], again["ingestion_id"]) == ("duplicate", first["ingestion_id"])
        assert is_a(await error_of(client.ingest(call, "User: other", user=user)), "ConflictError")
        assert (await client.status(first["ingestion_id"]))["status"] == "completed"
        assert world.turns(call) == ["I live in Lisbon.", "Lovely."]


@check("compaction")
async def compaction(world, driver):
    """A long conversation is cut short by an excerpt that says so; before, there is none."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        entry = {"conversation_id": chat, "user_id": user, "role": "user"}
        await client.batch([entry | {"content": f"This is turn {number}."} for number in range(40)])
        assert await client.compacted(chat) is None
        assert (await client.compact(chat, strategy="balanced"))["status"] == "completed"
        assert (await client.compaction(chat))["status"] == "completed"
        found = await client.compacted(chat)
        assert "excerpt" in found["text"]
        assert 0 < found["ratio"] < 1
        ready = await client.prompt(chat, user=user)
        assert (ready["covered"], len(ready["recent"]), ready["total"]) == (30, 10, 40)
        assert ready["text"].startswith("## Conversation so far (compacted")


@check("compaction-told")
async def compaction_told(world, driver):
    """Who listens is told that a conversation was cut short: the excerpt, and exactly the turns that it leaves."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        entry = {"conversation_id": chat, "user_id": user, "role": "user"}
        await client.batch([entry | {"content": f"This is turn {number}."} for number in range(24)])
        await client.listen()
        await client.say("This is turn 24.", user=user, conversation=chat)
        assert await until(lambda: len(world.turns(chat)) == 25)
        made = await client.compact(chat, strategy="aggressive")
        kinds = lambda: [bundle["_bundle_type"] for bundle in client.heard]  # noqa: E731 - asked again and again
        assert await until(lambda: "compaction_update" in kinds()), kinds()
        (bundle,) = [bundle for bundle in client.heard if bundle["_bundle_type"] == "compaction_update"]
        assert (bundle["_anticipation_conversation_id"], bundle["_anticipation_user_id"]) == (chat, user)
        told = bundle["conversation_context"]
        assert told["compaction_id"] == made["compaction_id"]
        assert (told["compacted_message_count"], told["total_message_count"]) == (21, 25)
        assert [turn["content"] for turn in told["recent_turns"]] == [f"This is turn {at}." for at in range(21, 25)]
        assert told["context_block"].startswith("## Conversation so far (compacted")
        assert (await client.compaction(chat))["status"] == "completed"
        assert (await client.prompt(chat, user=user))["covered"] == 21


@check("life")
async def life(world, driver):
    """A bundle says for how many seconds it holds, at most until its items would be sent again."""
    async with driver.Session(world) as client:
        user = name()
        await client.record(name(), "Our allotment is number seventeen, behind the mill", user=user)
        await client.listen()
        await client.say("Which number is our allotment behind the mill?", user=user, conversation=name())
        assert await until(lambda: any("seventeen" in json.dumps(bundle) for bundle in client.heard))
        assert all(0 < bundle["_ttl_hint_seconds"] <= 1500 for bundle in client.heard)


@check("telemetry")
async def telemetry(world, driver):
    """A client that has something to report closes at once: its telemetry is taken, and dropped."""
    async with driver.Session(world) as client:
        await client.record(name(), "hello", user=name())
        started = time.monotonic()
    assert time.monotonic() - started < 4
    status, _, _ = world.call("POST", "/v1/telemetry/batch", {"events": []})
    assert status == 200


@check("credits")
async def credits_(world, driver):
    """There is nothing to pay here, in the platform's words."""
    del driver
    status, _, balance = world.call("GET", "/v1/credits/balance")
    assert (status, balance["balance_credits"]) == (200, 0)
    status, _, estimate = world.call("POST", "/v1/credits/estimate", {"metric_type": "tokens", "units": 7})
    assert (status, estimate["credits_estimate"]) == (200, 0)


@check("refusals")
async def refusals(world, driver):
    """What is wrong is an error with a name, and nothing is stored."""
    async with driver.Session(world) as client:
        assert is_a(await error_of(client.record(name(), "hi", user=name(), role="robot")), "InvalidInputError")
        assert is_a(await error_of(client.memory(name())), "ContextNotFoundError")
    status, _, said = world.call("POST", "/v1/conversations/messages", {"role": "user"})
    assert status == 422
    assert all(said[key] for key in ("detail", "error", "code", "details"))


# --- the stream ------------------------------------------------------------------------------------------------


@check("events")
async def events(world, driver):
    """Every kind of event is acknowledged; only the two kinds of message are turns."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        await client.listen()
        whose = {"user": user, "conversation": chat}
        await client.say("What is on today?", **whose)
        await client.think("I should search", **whose)
        await client.tool(**whose, arguments={"q": "calendar"}, result="two meetings")
        await client.say("", event_type="context_request", search_queries=["today"], **whose)
        await client.say("Two meetings.", event_type="assistant_message", role="assistant", **whose)
        assert await until(lambda: client.unacknowledged == 0)
        assert world.turns(chat) == ["What is on today?", "Two meetings."]
        kinds = [row[0] for row in world.rows("SELECT kind FROM owned_event WHERE conversation_id = ?", chat)]
        assert sorted(kinds) == ["agent_thinking", "context_request", "tool_call", "tool_result"]


@check("sessions")
async def sessions(world, driver):
    """A session begins with a conversation's first event and ends when the client says so."""
    async with driver.Session(world) as client:
        chat = name()
        await client.listen()
        await client.say("hello", user=name(), conversation=chat)
        asked = "SELECT ended_at FROM session WHERE conversation_id = ?"
        assert await until(lambda: len(world.rows(asked, chat)) == 1)
        assert world.rows(asked, chat) == [(None,)]
        await client.end_session(chat)
        assert await until(lambda: world.rows(asked, chat)[0][0] is not None)


@check("state")
async def state(world, driver):
    """After a streamed turn the client is told how many turns the conversation has; a repetition says nothing new."""
    line = RawLine(world, driver.messages)
    chat = name()
    for event_id in ("a", "b", "b"):
        await line.event("user_message", conversation_id=chat, user_id=name(), content="hi", event_id=chat + event_id)
    assert await until(lambda: len(line.acknowledged) == 3)
    states = [message.conversation_state for message in line.heard if message.HasField("conversation_state")]
    assert {said.conversation_id for said in states} == {chat}
    await line.close()


@check("push")
async def push(world, driver):
    """What a user says brings what answers it before anybody asks; a request is answered, with nothing if need be."""
    async with driver.Session(world) as client:
        user = name()
        await client.record(name(), "Our allotment is number seventeen, behind the mill", user=user)
        await client.listen()
        chat = name()
        await client.say("Which number is our allotment behind the mill?", user=user, conversation=chat)
        assert await until(lambda: any("seventeen" in json.dumps(bundle) for bundle in client.heard))
        before = len(client.heard)
        await client.say("", user=user, conversation=chat, event_type="context_request", search_queries=["xyzzy"])
        assert await until(lambda: len(client.heard) > before)


@check("used")
async def used(world, driver):
    """What a model was shown of a pushed bundle is known for that bundle."""
    async with driver.Session(world) as client:
        user, chat = name(), name()
        await client.record(name(), "Our allotment is number seventeen, behind the mill", user=user)
        await client.listen()
        question = "Which number is our allotment behind the mill?"
        await client.say(question, user=user, conversation=chat)
        assert await until(lambda: any("seventeen" in json.dumps(bundle) for bundle in client.heard))
        told = await client.use("allotment number behind mill", user=user, conversation=chat)
        assert any("seventeen" in content for content in told)
        asked = "SELECT used_items FROM owned_bundle WHERE user_id = ? AND used_at IS NOT NULL"
        assert await until(lambda: any(json.loads(row[0]) for row in world.rows(asked, user)))


# --- the traps -------------------------------------------------------------------------------------------------


@check("trap-1")
async def writes_are_answered_with_200(world, driver):
    """Every write is answered with 200, so that no client takes it for a failure and writes three times."""
    chat, user = name(), name()
    turn = {"conversation_id": chat, "user_id": user, "role": "user", "content": "hello"}
    writes = [
        ("/v1/conversations/messages", turn),
        ("/v1/conversations/messages/batch", {"messages": [turn]}),
        ("/api/v1/memories/create", {"document": "x", "document_type": "document", "user_id": user}),
        ("/v1/conversations/ingest", {"conversation_id": name(), "user_id": user, "transcript": "User: hi"}),
        ("/v1/conversations/compact", {"conversation_id": chat}),
        ("/v1/telemetry/batch", {"events": []}),
    ]
    assert [world.call("POST", path, body)[0] for path, body in writes] == [200] * len(writes)
    async with driver.Session(world) as client:
        await client.record(chat, "once", user=user)
    assert world.turns(chat).count("once") == 1


@check("trap-2")
async def nothing_ends_too_soon(world, driver):
    """Acknowledgements do not overtake writes, streams end after their half-close and not before, pings get pongs."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        await client.listen()
        for number in range(200):
            await client.say(f"{number}", user=user, conversation=chat)
        assert await until(lambda: client.unacknowledged == 0, within_s=8)
        assert world.turns(chat) == [str(number) for number in range(200)]
        longest = 0.0
        for _ in range(8):
            started = time.monotonic()
            await client.stop()
            longest = max(longest, time.monotonic() - started)
            await client.listen()
        assert longest < 1.0, longest
    line = RawLine(world, driver.messages)
    written = time.monotonic()
    await line.event("user_message", conversation_id=chat, user_id=user, content="hi", event_id=name())
    assert await until(lambda: line.acknowledged)
    assert time.monotonic() - written > 0.02
    await line.event("user_message", conversation_id=chat, user_id=user, content="bye", event_id=name())
    await line.half_close()
    ended = time.monotonic()
    assert await until(lambda: line.ended is not None)
    assert time.monotonic() - ended > 0.04
    assert len(line.acknowledged) == 2
    await line.close()
    line = RawLine(world, driver.messages)
    await line.ping()
    assert await until(lambda: "heartbeat_pong" in line.kinds)
    await asyncio.to_thread(world.stop)
    assert await until(lambda: line.ended is not None)
    assert "signal" not in line.kinds  # `closing` would kill a client's reader
    await line.close()
    world.start()


@check("trap-3")
async def repetitions_are_dropped_and_acknowledged(world, driver):
    """A server that is killed while a client writes gets everything once, and acknowledges what it had already."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        await client.listen()
        for number in range(30):
            await client.say(f"{number}", user=user, conversation=chat)
        await until(lambda: len(world.turns(chat)) > 5)
        world.kill()
        for number in range(30, 35):
            saying = asyncio.ensure_future(client.say(f"{number}", user=user, conversation=chat))
            await asyncio.wait({saying}, timeout=0.05)
        world.start()
        assert await until(lambda: len(world.turns(chat)) == 35, within_s=15), world.turns(chat)
        assert await until(lambda: client.unacknowledged == 0)
        assert sorted(world.turns(chat), key=int) == [str(number) for number in range(35)]
    known = world.rows("SELECT event_id FROM owned_turn WHERE conversation_id = ? LIMIT 1", chat)[0][0]
    line = RawLine(world, driver.messages)
    await line.event("user_message", conversation_id=chat, user_id=user, content="0", event_id=known)
    assert await until(lambda: line.acknowledged == [known])
    assert len(world.turns(chat)) == 35
    await line.close()


@check("trap-4")
async def what_is_discarded_is_acknowledged(world, driver):
    """Events without a user, of unknown kinds and with ids that cannot be are acknowledged, or they come for ever."""
    line = RawLine(world, driver.messages)
    odd = [
        ("user_message", {"conversation_id": name(), "content": "nobody's"}),
        ("user_message", {"user_id": name(), "content": "nowhere"}),
        ("newer_than_this", {"conversation_id": name(), "user_id": name()}),
        ("context_fetch", {"search_queries": ["x"]}),
        ("tool_call", {"user_id": "a\nb", "tool_args_json": "{"}),
        ("user_message", {"conversation_id": "x" * 600, "user_id": name(), "content": "long id"}),
    ]
    for number, (kind, fields) in enumerate(odd):
        await line.event(kind, event_id=f"odd-{number}", **fields)
    assert await until(lambda: line.acknowledged == [f"odd-{number}" for number in range(len(odd))]), line.acknowledged
    await line.close()


@check("trap-5")
async def large_messages_come_in_and_none_goes_out(world, driver):
    """A turn of 5 MiB is taken the first time it is sent, and nothing is pushed that a client could not receive."""
    user, chat = name(), name()
    async with driver.Session(world) as client:
        await client.listen()
        book = "platypus " * (LARGE // 9)
        refused = await error_of(client.say(book, user=user, conversation=chat))
        if refused is not None:  # a client may know a limit of its own, and another way
            assert is_a(refused, "InvalidInputError")
            await client.record(chat, book, user=user)
        assert await until(lambda: client.unacknowledged == 0, within_s=15)
        assert [len(content) for content in world.turns(chat)] == [len("platypus ") * (LARGE // 9)]
    line = RawLine(world, driver.messages)
    ids = {"conversation_id": name(), "user_id": user}
    await line.event("context_request", search_queries=["platypus"], event_id=name(), **ids)
    assert await until(lambda: line.bundles)
    assert max(message.ByteSize() for message in line.heard) < 4 << 20
    await line.close()


@check("trap-6")
async def pushed_items_can_be_read(world, driver):
    """Items are of the five kinds, confident within 0..1, dated where they are events, and JSON fields hold JSON."""
    user = name()
    async with driver.Session(world) as client:
        text = "I live in Lisbon. I love black coffee. My appointment with the dentist is on 12 March 2031."
        await client.record(name(), text, user=user)
        found = await client.fetch("user", "appointment dentist March", user=user)
        assert "temporal_events" in {item["kind"] for item in found}, found
    line = RawLine(world, driver.messages)
    messages, chat = driver.messages, name()
    start = messages.SessionControl(action="start", session_id=name(), conversation_id=chat, user_id=user)
    await line._call.write(messages.StreamEvent(session_control=start))
    ids = {"conversation_id": chat, "user_id": user}
    asked = ["appointment dentist March", "where do I live", "black coffee"]
    await line.event("context_request", search_queries=asked, event_id=name(), **ids)
    await line.event("user_message", content="When is the dentist appointment?", event_id=name(), **ids)
    assert await until(lambda: len(line.bundles) >= 2)
    assert any(bundle.items_by_type for bundle in line.bundles)
    for bundle in line.bundles:
        assert set(bundle.items_by_type) <= TYPES
        for kind, held in bundle.items_by_type.items():
            for item in held.items:
                assert item.item_id
                assert item.content
                assert 0 <= item.confidence <= 1
                assert kind != "temporal_events" or item.temporal_category
        for field in ("current_state_json", "key_extractions_json"):
            json.loads(getattr(bundle.conversation_context, field) or "{}")
    await line.close()


@check("trap-7")
async def new_memories_are_found_at_once(world, driver):
    """The same question after another turn gets another answer: nothing is kept in the client's cache."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        await client.record(chat, "The ferry leaves at nine", user=user)
        first = await client.fetch("user", "ferry leaves", user=user)
        await client.record(chat, "The ferry leaves at ten from now on", user=user)
        second = await client.fetch("user", "ferry leaves", user=user)
        assert (len(first), len(second)) == (1, 2)


@check("trap-8")
async def retry_after_is_a_whole_number(world, driver):
    """A server that has too much to do says in whole seconds when to come back, and the client's write arrives once."""
    async with driver.Session(world) as client:
        chat, user = name(), name()
        lock = world.locked()
        turn = {"conversation_id": name(), "user_id": user, "role": "user", "content": "crowd"}
        crowd = [asyncio.ensure_future(_in_a_thread(world, turn)) for _ in range(110)]
        try:
            refused = None
            for _ in range(400):
                done = [task.result() for task in crowd if task.done()]
                refused = next((answer for answer in done if answer[0] in {429, 503}), None)
                if refused:
                    break
                await asyncio.sleep(0.01)
            writing = asyncio.ensure_future(client.record(chat, "patience", user=user))
            await asyncio.sleep(0.2)
        finally:
            lock.close()
        assert refused is not None
        headers = {key.lower(): value for key, value in refused[1].items()}
        assert headers["retry-after"].isdigit()
        await writing
        await asyncio.gather(*crowd)
        assert world.turns(chat) == ["patience"]


async def _in_a_thread(world, turn):
    # A pool of its own: the default one is too small for a crowd.
    global _POOL  # noqa: PLW0603 - made when it is first needed
    if _POOL is None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        _POOL = ThreadPoolExecutor(120)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_POOL, world.call, "POST", "/v1/conversations/messages", turn)


_POOL = None


@check("trap-9")
async def recent_messages_are_whole(world, driver):
    """Each recent message has its four fields as text, and no list is null, also of a conversation that never was."""
    chat, user = name(), name()
    async with driver.Session(world) as client:
        await client.record(chat, "", user=user)
        await client.record(chat, "two", user=user, role="assistant")
        found = await client.prompt(chat, user=user)
        assert [row[:2] for row in found["recent"]] == [("user", ""), ("assistant", "two")]
        never = await client.prompt(name(), user=user)
        assert (never["available"], never["recent"]) == (False, [])
    _, _, raw = world.call("GET", f"/v1/conversations/{chat}/context-for-prompt?style=structured")
    fields = ("role", "content", "timestamp", "message_id")
    assert all(isinstance(row[field], str) for row in raw["recent_messages"] for field in fields)
    _, _, nothing = world.call("POST", "/v1/context/user/fetch", {"user_id": name(), "search_query": ["x"]})
    assert all(nothing["context"][kind] == [] for kind in TYPES)


@check("trap-10")
async def a_ranked_answer_keeps_all_of_a_pushed_bundle(world, driver):
    """Asked for a ranked list, a client keeps every pushed item under its own id."""
    async with driver.Session(world) as client:
        user = name()
        for number, where in enumerate(("the harbour", "the castle", "the market")):
            chat = name()
            await client.record(chat, f"The guided walk number {number} ends at {where}", user=user)
        await client.listen()
        chat = name()
        await client.say("Where does the guided walk end?", user=user, conversation=chat)
        assert await until(lambda: any("harbour" in json.dumps(bundle) for bundle in client.heard))
        found = await client.unified("guided walk number ends", user=user, conversation=chat, ranked=True)
        assert len({item["id"] for item in found if item["id"]}) >= 3, found


@check("trap-11")
async def what_is_deleted_is_not_served_from_a_bundle(world, driver):
    """Bundles live in the client: deleting a user's data through it leaves nothing to be served, pushed or not."""
    async with driver.Session(world) as client:
        user, chat = name(), name()
        await client.record(name(), "The vault opens with the copper key", user=user)
        await client.listen()
        await client.say("What does the vault open with?", user=user, conversation=chat)
        assert await until(lambda: any("copper" in json.dumps(bundle) for bundle in client.heard))
        await client.delete_data("user", user_id=user, confirm=user)
        assert await client.fetch("user", "vault opens copper key", user=user) == []


@check("trap-12")
async def a_bad_key_is_refused_at_once_and_disturbs_nobody(world, driver):
    """A stream with a wrong key is refused before anything is read, however often it tries, and others go on."""
    line = RawLine(world, driver.messages, key="wrong")
    assert await until(lambda: line.ended is not None)
    assert line.ended.name == "UNAUTHENTICATED"
    await line.close()
    intruder, chat, user = driver.Session(world, key="wrong"), name(), name()
    opening = asyncio.ensure_future(_intruded(intruder, chat))
    async with driver.Session(world) as client:
        started = time.monotonic()
        await client.record(chat, "hello", user=user)
        await client.listen()
        assert time.monotonic() - started < 2.0
    await opening
    assert world.turns(chat) == ["hello"]


async def _intruded(intruder, chat):
    """Listen and talk for two seconds with a key that is wrong."""
    try:
        async with asyncio.timeout(2.0):
            async with intruder:
                await intruder.listen()
                while True:
                    await intruder.say("let me in", user=name(), conversation=chat)
                    await asyncio.sleep(0.1)
    except Exception:  # noqa: BLE001 - refused in one way or another
        return


@check("trap-13")
async def old_clients_are_served(world, driver):
    """A client from before event ids is stored and pushed to, and hears of no acknowledgement."""
    user, chat = name(), name()
    async with driver.Session(world) as client:
        await client.record(name(), "The tram stops at the old bridge", user=user)
    line = RawLine(world, driver.messages)
    await line.event("user_message", conversation_id=chat, user_id=user, content="Where does the tram stop?")
    await line.event("assistant_message", conversation_id=chat, user_id=user, content="At the old bridge.")
    assert await until(lambda: line.bundles and len(world.turns(chat)) == 2)
    await asyncio.sleep(0.1)
    assert "event_ack" not in line.kinds
    await line.close()


@check("trap-14")
async def each_stream_gets_what_its_users_need(world, driver):
    """Two processes of one instance listen at once, and each is pushed what its own users call for, by either way."""
    async with driver.Session(world) as first, driver.Session(world) as second:
        people = {}
        for client, secret in ((first, "amber"), (second, "violet")):
            people[secret] = (client, name(), name())
            await client.record(name(), f"The gate opens with the {secret} card", user=people[secret][1])
        for client, _, _ in people.values():
            await client.listen()
        for client, user, chat in people.values():
            await client.say("What opens the gate?", user=user, conversation=chat)
        for secret, (client, user, chat) in people.items():
            assert await until(lambda c=client, s=secret: any(s in json.dumps(b) for b in c.heard))
            before = len(client.heard)
            await client.record(chat, "Which card opens the gate, please?", user=user)
            assert await until(lambda c=client, n=before: len(c.heard) > n)
        for secret, (client, _, _) in people.items():
            other = "violet" if secret == "amber" else "amber"
            assert not any(other in json.dumps(bundle) for bundle in client.heard)


async def judged(one: Check, world: World, driver) -> dict:
    """What became of one check."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(45):
            await one.run(world, driver)
        fault = None
    except AssertionError as error:
        fault = _where(error)
    except Exception as error:  # noqa: BLE001 - whatever the client raises is a verdict
        fault = f"{type(error).__name__}: {error} {_where(error)}"
    if world.process.poll() is not None:
        world.start()
    return {"key": one.key, "fault": fault, "took_s": round(time.monotonic() - started, 2)}


def _where(error: BaseException) -> str:
    """The line of the check that failed."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == __file__:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line}: {error}"

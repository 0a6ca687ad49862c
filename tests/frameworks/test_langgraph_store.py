"""LangGraph's store on a Synap: its documented behaviour, in graphs, on the embedded Synap and on a server."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from synap_integrations import Scope, Synap, SynapClient
from synap_integrations.errors import InvalidInputError, ServiceUnavailableError, SynapError
from synap_integrations.guard import incidents
from synap_integrations.langchain import SynapStore
from synap_integrations.langchain.store.filters import matches
from synap_integrations.langchain.store.namespaces import APPLICATION, OWNERS, journal_of
from synap_integrations.server.embedded import FILE_NAME
from synap_integrations.settings import Settings

ANA, MATEO = ("users", "ana"), ("users", "mateo")
NOBODY = Scope(None, APPLICATION)


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.at = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self):
        self.at += timedelta(milliseconds=1)
        return self.at

    def advance(self, minutes):
        """Let time go by."""
        self.at += timedelta(minutes=minutes)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def here(tmp_path):
    """A Synap whose embedded store is a file of this test."""
    return Synap(base_url="local", storage_path=tmp_path)


@pytest.fixture(params=["embedded", "server"])
def store(request, here, clock, tmp_path):
    """A store on the embedded Synap, and one on a server behind sockets."""
    if request.param == "embedded":
        with SynapStore(here, now=clock) as made:
            yield made
        return
    dev_server = pytest.importorskip("dev_server", reason="the server's packages are not installed")
    with dev_server.server_in_process(tmp_path / "server.db") as server:
        there = Synap(**server.address, storage_path=tmp_path)
        with SynapStore(there, now=clock) as made:
            yield made


def keys(items):
    """The keys of what was found, in order."""
    return [item.key for item in items]


# --- one item --------------------------------------------------------------------------------------------------------


def test_what_is_put_is_got_and_what_is_deleted_is_not(store, clock) -> None:
    """Values come back as they were; putting again replaces; nobody's object is shared."""
    value = {"text": "São João, 東京 😀", "n": [1, 2.5, None, {"deep": True}], "": "empty"}
    store.put(ANA, "likes", value)
    first = store.get(ANA, "likes")
    assert (first.value, first.key, first.namespace) == (value, "likes", ANA)
    assert first.created_at == first.updated_at <= clock.at
    first.value["n"].append("mine")
    assert store.get(ANA, "likes").value == value
    store.put(ANA, "likes", {"text": "Porto"})
    second = store.get(ANA, "likes")
    assert second.value == {"text": "Porto"}
    assert second.created_at == first.created_at < second.updated_at
    store.delete(ANA, "likes")
    assert store.get(ANA, "likes") is None
    assert store.search(ANA) == []
    store.put(ANA, "likes", {"text": "again"})
    assert store.get(ANA, "likes").created_at > second.updated_at
    assert store.get(ANA, "nothing") is None
    assert store.get(("nowhere",), "nothing") is None
    store.delete(("nowhere",), "nothing")


async def test_the_async_calls_do_the_same(store) -> None:
    """Put, get, search, list and delete, awaited, and several at once."""
    await asyncio.gather(*(store.aput((*ANA, "notes"), f"k{n}", {"n": n}) for n in range(20)))
    assert (await store.aget((*ANA, "notes"), "k7")).value == {"n": 7}
    assert len(await store.asearch(ANA, limit=50)) == 20
    assert await store.alist_namespaces(prefix=ANA) == [(*ANA, "notes")]
    await store.adelete((*ANA, "notes"), "k7")
    assert await store.aget((*ANA, "notes"), "k7") is None


async def test_namespaces_that_langgraph_forbids_are_refused(store) -> None:
    """The rules are those of its base class, in both worlds."""
    for namespace in ((), ("the", "thing.about"), ("some", ""), ("langgraph", "foo")):
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "key", {})
        with pytest.raises(InvalidNamespaceError):
            await store.aput(namespace, "key", {})


@pytest.mark.parametrize(
    "value",
    [{"when": datetime(2026, 1, 1, tzinfo=UTC)}, {"n": float("nan")}, {"half": "\ud83d"}, {"set": {1}}],
    ids=["time", "nan", "surrogate", "set"],
)
def test_a_value_that_json_cannot_hold_is_refused_and_changes_nothing(here, value) -> None:
    """The error names the key; nothing else of the batch is written."""
    with SynapStore(here) as store:
        with pytest.raises(InvalidInputError, match="'bad' cannot be kept as JSON"):
            store.batch([PutOp(ANA, "good", {"fine": 1}), PutOp(ANA, "bad", value)])
        assert store.search(ANA) == []


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_answers_in_order_and_reads_what_was_there_before(store) -> None:
    """Each operation has its place; puts of the batch are seen by the next; of two under one key the last counts."""
    store.put(ANA, "a", {"v": 1})
    results = store.batch(
        [
            PutOp(ANA, "a", {"v": 2}),
            GetOp(ANA, "a"),
            SearchOp(ANA),
            PutOp(ANA, "a", {"v": 3}),
            PutOp(MATEO, "b", {"v": 4}),
            ListNamespacesOp(),
            GetOp(MATEO, "b"),
        ]
    )
    assert [results[0], results[3], results[4], results[6]] == [None] * 4
    assert results[1].value == {"v": 1}
    assert [item.value for item in results[2]] == [{"v": 1}]
    assert results[5] == [ANA]
    assert store.get(ANA, "a").value == {"v": 3}
    assert store.get(MATEO, "b").value == {"v": 4}
    with pytest.raises(InvalidInputError, match="no operation"):
        store.batch(["put"])


def test_put_and_delete_of_one_batch_count_in_their_order(store) -> None:
    """The last word under a key stands."""
    store.batch([PutOp(ANA, "a", {"v": 1}), PutOp(ANA, "a", None), PutOp(ANA, "b", None), PutOp(ANA, "b", {"v": 2})])
    assert keys(store.search(ANA)) == ["b"]


# --- search ----------------------------------------------------------------------------------------------------------


def test_search_ranks_by_the_words_of_the_query(store) -> None:
    """What answers comes first, with a score; the rest follows without one, up to the limit."""
    notes = {
        "pet": "Rex is a border collie who hates thunder",
        "home": "The flat in Lisbon has a tiny balcony",
        "work": "Restores ceramics with gold lacquer",
        "trip": "A sleeper train to Vienna in June",
        "food": "Allergic to shellfish",
        "music": "Plays the viola on Sundays",
    }
    for key, text in notes.items():
        store.put((*ANA, "notes"), key, {"text": text})
    found = store.search(ANA, query="Is Ana allergic to shellfish?", limit=6)
    assert found[0].key == "food"
    assert found[0].score > 0
    assert sorted(keys(found)) == sorted(notes)
    assert store.search((*ANA, "notes"), query="border collie", limit=1)[0].key == "pet"
    assert store.search(ANA, query="border collie", limit=1, offset=1)[0].key != "pet"


def test_an_item_that_is_not_indexed_is_found_only_without_a_score(store) -> None:
    """``index=False`` keeps it out of rankings and in everything else."""
    store.put(ANA, "hidden", {"text": "zebra crossing"}, index=False)
    store.put(ANA, "shown", {"text": "zebra stripes"})
    found = {item.key: item.score for item in store.search(ANA, query="zebra")}
    assert found["hidden"] is None
    assert found["shown"] > 0


def test_a_replaced_value_is_not_ranked_by_its_old_words(store) -> None:
    """Only what stands now counts."""
    store.put(ANA, "home", {"text": "lives in Lisbon"})
    store.put(ANA, "home", {"text": "moved away"})
    (found,) = store.search(ANA, query="Lisbon")
    assert found.value == {"text": "moved away"}
    assert not found.score or found.score < 1


def test_without_a_query_the_newest_comes_first_and_pages_do_not_overlap(store) -> None:
    """Limit and offset cut one order."""
    for n in range(12):
        store.put(ANA, f"k{n:02}", {"n": n})
    pages = [keys(store.search(ANA, limit=5, offset=at)) for at in (0, 5, 10, 15)]
    assert pages[0][0] == "k11"
    assert [key for page in pages for key in page] == [f"k{n:02}" for n in reversed(range(12))]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"kind": "report"}, {"a", "b"}),
        ({"kind": {"$eq": "report"}, "score": {"$gt": 4}}, {"b"}),
        ({"score": {"$gte": 3, "$lt": 5}}, {"a", "c"}),
        ({"score": {"$lte": 3}}, {"a"}),
        ({"kind": {"$ne": "report"}}, {"c", "d"}),
        ({"meta": {"lang": "pt"}}, {"a"}),
        ({"meta": {"pages": {"$gt": 10}}}, {"b"}),
        ({"tags": ["x", "y"]}, {"c"}),
        ({"missing": None}, {"a", "b", "c", "d"}),
        ({"kind": {"$gt": "note"}}, {"a", "b"}),
    ],
    ids=["equal", "eq-and-gt", "between", "lte", "ne", "nested", "nested-operator", "list", "missing", "texts"],
)
def test_filters_compare_as_langgraph_documents(here, wanted, expected) -> None:
    """Equality, the six operators, nested objects and lists; all conditions hold."""
    with SynapStore(here) as store:
        store.put(ANA, "a", {"kind": "report", "score": 3, "meta": {"lang": "pt", "pages": 3}})
        store.put(ANA, "b", {"kind": "report", "score": 5.5, "meta": {"lang": "en", "pages": 30}})
        store.put(ANA, "c", {"kind": "note", "score": "4", "tags": ["x", "y"]})
        store.put(ANA, "d", {"kind": "memo"})
        assert set(keys(store.search(ANA, filter=wanted))) == expected


def test_an_unknown_operator_is_an_error_that_lists_the_known() -> None:
    """Nothing is silently found or not found."""
    with pytest.raises(InvalidInputError, match=r"\$in is none of \$eq"):
        matches(3, {"$in": [3]})


# --- namespaces ------------------------------------------------------------------------------------------------------


def test_namespaces_are_listed_by_prefix_suffix_wildcard_and_depth(store) -> None:
    """Sorted, cut where asked, without those that hold nothing any more."""
    spaces = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
        ("users", "456", "settings"),
    ]
    store.batch([PutOp(space, "k", {"v": 1}) for space in spaces])
    assert store.list_namespaces() == spaces
    assert store.list_namespaces(prefix=("a", "b")) == spaces[:3]
    assert store.list_namespaces(suffix=("f",)) == [("a", "c", "f"), ("b", "a", "f")]
    assert store.list_namespaces(prefix=("a",), suffix=("f",)) == [("a", "c", "f")]
    assert store.list_namespaces(prefix=("a", "*", "f")) == [("a", "c", "f")]
    assert store.list_namespaces(suffix=("*", "settings")) == [("users", "456", "settings")]
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [("a", "b", "c"), ("a", "b", "d")]
    assert store.list_namespaces(limit=2, offset=1) == spaces[1:3]
    store.delete(("users", "123"), "k")
    assert store.list_namespaces(prefix=("users",)) == [("users", "456", "settings")]
    with pytest.raises(InvalidInputError, match="match_type"):
        store.batch([ListNamespacesOp(match_conditions=(MatchCondition("infix", ("a",)),))])


# --- whose memory it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "user", "customer"),
    [
        (("users", "ana"), "ana", None),
        (("users", "ana", "notes"), "ana", None),
        (("memories", "ana"), "ana", None),
        (("ana", "memories"), "ana", None),
        (("customers", "acme", "users", "ana", "x"), "ana", "acme"),
        (("products", "kiln"), APPLICATION, None),
        (("users",), APPLICATION, None),
    ],
    ids=str,
)
def test_a_namespace_belongs_to_the_user_it_names(namespace, user, customer) -> None:
    """By the beginning of the namespace; what names nobody is the application's."""
    scope = journal_of(namespace, OWNERS, nobody=NOBODY)
    assert (scope.user_id, scope.customer_id) == (user, customer)
    assert journal_of(namespace, OWNERS, nobody=Scope(None, "x", customer_id="tenant")).customer_id == (
        customer or "tenant"
    )


def test_the_keywords_of_the_platforms_own_store_are_taken(tmp_path) -> None:
    """``sdk``, ``user_id`` and ``customer_id``, all optional; what is no SDK object is refused."""
    synap = Synap(base_url="local", storage_path=tmp_path)
    with SynapStore(sdk=synap, user_id="ana", customer_id="acme") as store:
        store.put(("notes",), "k", {"v": 1})
        assert store.get(("notes",), "k").value == {"v": 1}
        assert store._nobody == Scope(None, "ana", customer_id="acme")
    with SynapStore(synap, user_id="mateo", customer_id="acme") as other:
        assert other.get(("notes",), "k") is None
        assert other.list_namespaces() == []
    with pytest.raises(InvalidInputError, match="sdk must be"):
        SynapStore(sdk=3)


def test_namespaces_that_read_alike_are_different_conversations() -> None:
    """No label can reach into the next one, however long and whatever is in it."""
    alike = [
        ("a", "b"),
        ("a b",),
        ("a", "b", "c"),
        ('a", "b',),
        ("x" * 600,),
        ("x" * 601,),
        ("a\n", "b"),
        ("users", "ana"),
    ]
    scopes = {journal_of(space, OWNERS, nobody=NOBODY).conversation_id for space in alike}
    assert len(scopes) == len(alike)


def test_nothing_crosses_from_one_user_to_another(store) -> None:
    """A thousand canaries: no get, search or listing under one user's prefix shows another's."""
    users = [f"u{n}" for n in range(20)]
    store.batch(
        [PutOp(("users", user, "notes"), f"k{k}", {"text": f"canary {user} {k}"}) for user in users for k in range(50)]
    )
    for user in users:
        found = store.search(("users", user), query=f"canary {users[0]} 7", limit=100)
        assert {item.namespace for item in found} == {("users", user, "notes")}
        assert all(item.value["text"].startswith(f"canary {user} ") for item in found)
        assert len(found) == 50
        assert store.list_namespaces(prefix=("users", user)) == [("users", user, "notes")]


async def test_what_is_kept_of_a_user_goes_when_the_user_is_forgotten(here, tmp_path) -> None:
    """The items lie in the user's own memory: deleting all data of the user reaches them."""
    with SynapStore(here) as store:
        await store.aput(ANA, "secret", {"text": "kiln number seven"})
        await store.aput(MATEO, "other", {"text": "stays"})
        async with SynapClient(settings=here.settings) as client:
            done = await client.data.delete("user", user_id="ana", confirm="ana")
            assert done.fully_removed
        assert await store.aget(ANA, "secret") is None
        assert await store.asearch(("users",), query="kiln") == await store.asearch(MATEO, query="kiln")
        assert (await store.aget(MATEO, "other")).value == {"text": "stays"}
        await store.aput(ANA, "new", {"text": "a new beginning"})
        assert keys(await store.asearch(ANA)) == ["new"]


def test_owners_can_be_named_by_patterns_of_ones_own(here) -> None:
    """A pattern says where the user stands; one that does not is refused."""
    with SynapStore(here, owners=[("app", "{customer_id}", "{user_id}")]) as store:
        store.put(("app", "acme", "ana"), "k", {"v": 1})
        assert store.get(("app", "acme", "ana"), "k").value == {"v": 1}
        scope = journal_of(("app", "acme", "ana"), store._owners, nobody=NOBODY)
        assert scope == Scope(scope.conversation_id, "ana", customer_id="acme")
    for wrong in ([("users",)], ["users"]):
        with pytest.raises(InvalidInputError, match="owners"):
            SynapStore(here, owners=wrong)


# --- what is deleted is gone -----------------------------------------------------------------------------------------


def test_a_deleted_item_leaves_no_word_in_the_file(here, tmp_path) -> None:
    """Neither its values of now and before, nor its key."""
    with SynapStore(here) as store:
        store.put(ANA, "keyword-xylophone", {"text": "first-quokka"})
        store.put(ANA, "keyword-xylophone", {"text": "second-axolotl"})
        store.put(ANA, "stays", {"text": "third-okapi"})
        store.delete(ANA, "keyword-xylophone")
    (file,) = tmp_path.rglob(FILE_NAME)
    raw = b"".join(path.read_bytes() for path in file.parent.glob(f"{FILE_NAME}*"))
    assert b"okapi" in raw
    for word in (b"xylophone", b"quokka", b"axolotl"):
        assert word not in raw


# --- masks -----------------------------------------------------------------------------------------------------------

CARD = "4111-1111-1111-1111"


def without_cards(text):
    """A mask as people write it."""
    if text == "break":
        message = "the mask is broken"
        raise RuntimeError(message)
    return text.replace(CARD, "[card]")


async def test_a_mask_sees_every_text_before_it_leaves(tmp_path) -> None:
    """Values at any depth, tuples and names of fields too, and queries; keys and namespaces stay."""
    synap = Synap(base_url="local", storage_path=tmp_path, mask=without_cards)
    value = {"card": CARD, "deep": [{CARD: (CARD, 7)}], "none": None}
    kept = {"card": "[card]", "deep": [{"[card]": ["[card]", 7]}], "none": None}
    with SynapStore(synap) as store:
        store.put(ANA, "paid", value)
        await store.aput(ANA, CARD, {"with": f"the card {CARD}"})
        assert store.get(ANA, "paid").value == kept
        assert (await store.aget(ANA, CARD)).value == {"with": "the card [card]"}
        assert keys(store.search(ANA, query=f"card {CARD}"))
    assert value == {"card": CARD, "deep": [{CARD: (CARD, 7)}], "none": None}
    with closing(sqlite3.connect(tmp_path / "integrations" / "v1" / FILE_NAME)) as db:
        turns = [content for (content,) in db.execute("SELECT content FROM turn")]
    assert [json.loads(text)["value"] for text in turns if '"paid"' in text] == [kept]


def test_a_mask_that_fails_keeps_nothing(tmp_path) -> None:
    """It is an error of the put, nothing of the batch is there, and the next one goes through."""
    with SynapStore(Synap(base_url="local", storage_path=tmp_path, mask=without_cards)) as store:
        with pytest.raises(InvalidInputError, match="mask"):
            store.batch([PutOp(ANA, "before", {"a": "fine"}), PutOp(ANA, "broken", {"a": ["break"]})])
        assert store.search(ANA) == []
        store.put(ANA, "after", {"a": "fine"})
        assert keys(store.search(ANA)) == ["after"]
        with pytest.raises(InvalidInputError, match="mask"):
            store.search(ANA, query="break")
    incidents.clear()


def test_the_mask_of_the_environment_applies_too(tmp_path, monkeypatch) -> None:
    """A store that was made with nothing has the mask of ``SYNAP_MASK``."""
    monkeypatch.setenv("SYNAP_MASK", "textwrap:dedent")
    monkeypatch.setenv("SYNAP_STORAGE_PATH", str(tmp_path))
    with SynapStore() as store:
        store.put(ANA, "k", {"a": "   indented"})
        assert store.get(ANA, "k").value == {"a": "indented"}


# --- time to live ----------------------------------------------------------------------------------------------------


def test_an_item_whose_time_is_over_is_not_shown_and_can_be_swept(store, clock) -> None:
    """Minutes count from the last put; sweeping deletes and says how many."""
    store.put(ANA, "short", {"v": 1}, ttl=10)
    store.put(ANA, "long", {"v": 2}, ttl=100)
    store.put(ANA, "ever", {"v": 3})
    clock.advance(11)
    assert store.get(ANA, "short") is None
    assert set(keys(store.search(ANA, refresh_ttl=False))) == {"long", "ever"}
    assert store.sweep_ttl() == 1
    assert store.sweep_ttl() == 0
    clock.advance(100)
    assert keys(store.search(ANA)) == ["ever"]


def test_reading_renews_the_time_unless_told_otherwise(store, clock) -> None:
    """Get and search renew; ``refresh_ttl=False`` does not."""
    for key in ("got", "searched", "left"):
        store.put((*ANA, key), key, {"v": 1}, ttl=10)
    for _ in range(3):
        clock.advance(6)
        assert store.get((*ANA, "got"), "got") is not None
        assert keys(store.search((*ANA, "searched"))) == ["searched"]
        store.get((*ANA, "left"), "left", refresh_ttl=False)
    assert store.get((*ANA, "left"), "left", refresh_ttl=False) is None


def test_the_stores_own_terms_apply_where_a_call_has_none(here, clock) -> None:
    """``default_ttl`` and ``refresh_on_read`` are LangGraph's."""
    with SynapStore(here, ttl={"default_ttl": 10, "refresh_on_read": False}, now=clock) as store:
        store.put(ANA, "default", {"v": 1})
        store.put(ANA, "never", {"v": 2}, ttl=None)
        clock.advance(6)
        assert store.get(ANA, "default") is not None
        clock.advance(6)
        assert keys(store.search(ANA)) == ["never"]


# --- several at once -------------------------------------------------------------------------------------------------


def test_two_stores_over_one_file_see_each_other_at_once(here) -> None:
    """Puts, replacements and deletions of one are there for the other's next read."""
    with SynapStore(here) as one, SynapStore(here) as other:
        one.put(ANA, "k", {"v": 1})
        assert other.get(ANA, "k").value == {"v": 1}
        other.put(ANA, "k", {"v": 2})
        assert one.get(ANA, "k").value == {"v": 2}
        one.delete(ANA, "k")
        assert other.get(ANA, "k") is None
        assert other.list_namespaces() == []


def test_another_process_finds_what_was_kept(here, tmp_path) -> None:
    """Items outlive the process that put them."""
    program = (
        "import sys; from synap_integrations import Synap; from synap_integrations.langchain import SynapStore\n"
        "with SynapStore(Synap(base_url='local', storage_path=sys.argv[1])) as store:\n"
        "    store.put(('users', 'ana'), 'k', {'from': 'elsewhere'})\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    with SynapStore(here) as store:
        assert store.get(ANA, "k").value == {"from": "elsewhere"}


def test_threads_share_a_store(here) -> None:
    """Eight threads put and get; every item is there with the value of its own thread."""
    with SynapStore(here) as store:

        def work(name):
            for n in range(10):
                store.put((*ANA, name), f"k{n}", {"by": name, "n": n})
                assert store.get((*ANA, name), f"k{n}").value == {"by": name, "n": n}

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.search(ANA, limit=200)) == 80


def test_a_search_goes_on_while_others_make_namespaces(here) -> None:
    """What another thread adds in the middle of a search is in its answer or not; it is never an error."""
    store = SynapStore(here)
    stop = threading.Event()

    def add():
        for number in range(60):
            store.put(("users", f"user-{number}"), "key", {"value": number})
        stop.set()

    def search():
        counts = []
        while not stop.is_set():
            counts.append(len(store.search(("users",), limit=100)))
        return counts

    with store, ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        pool.submit(add).result(60)
        seen = [searched.result(60) for searched in searches]
        assert all(counts == sorted(counts) for counts in seen)
        assert len(store.search(("users",), limit=100)) == 60


@pytest.fixture
def silence():
    """The address of a platform that takes every request and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as requests:
        listening.settimeout(30)

        def request() -> None:
            accepted, _ = listening.accept()
            requests.enter_context(accepted).recv(1)

        yield SimpleNamespace(url=f"http://127.0.0.1:{listening.getsockname()[1]}", request=request)


def test_a_store_that_is_closed_again_and_again_leaves_nobody_waiting(here) -> None:
    """What was begun ends, done or with an error, and nothing of it is left to the garbage collector."""
    store = SynapStore(here)
    ends = []

    def put(who):
        for number in range(40):
            try:
                store.put(("users", who), f"key-{number}", {"value": number})
                ends.append("done")
            except ServiceUnavailableError as error:
                ends.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(put, f"user-{number}") for number in range(4)]
        while not all(writer.done() for writer in writers):
            store.close()
            time.sleep(0.005)
        for writer in writers:
            writer.result(60)
    store.close()
    assert len(ends) == 160
    assert {end for end in ends if "closed while it worked" not in end} == {"done"}


def test_whoever_waits_when_the_store_is_closed_is_told_so(silence, tmp_path) -> None:
    """Threads that wait for a platform get an error that says what is not known."""
    store = SynapStore(Synap(api_key="k" * 32, base_url=silence.url, storage_path=tmp_path))
    with ThreadPoolExecutor(4) as pool:
        putting = [pool.submit(store.put, ("users", f"user-{number}"), "key", {"value": 1}) for number in range(4)]
        for _ in putting:
            silence.request()
        store.close()
        told = [put.exception(10) for put in putting]
    assert {type(error) for error in told} == {ServiceUnavailableError}
    assert {"closed while it worked" in str(error) for error in told} == {True}


async def test_a_task_that_waits_when_the_store_is_closed_is_not_cancelled(silence, tmp_path) -> None:
    """It gets an error that it can handle; a task that is cancelled by its own application is."""
    store = SynapStore(Synap(api_key="k" * 32, base_url=silence.url, storage_path=tmp_path))
    putting = asyncio.ensure_future(store.aput(ANA, "key", {"value": 1}))
    await asyncio.to_thread(silence.request)
    await asyncio.to_thread(store.close)
    with pytest.raises(ServiceUnavailableError, match="closed while it worked"):
        await putting
    putting = asyncio.ensure_future(store.aput(ANA, "key", {"value": 2}))
    await asyncio.to_thread(silence.request)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await asyncio.to_thread(store.close)


def test_closing_leaves_no_thread_and_the_store_can_be_used_again(here) -> None:
    """The thread is gone; the next use starts another."""
    store = SynapStore(here)
    store.put(ANA, "k", {"v": 1})
    store.close()
    store.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "synap-store"]
    assert store.get(ANA, "k").value == {"v": 1}
    store.close()


def test_a_platform_that_cannot_be_had_is_an_error_and_not_an_empty_answer(tmp_path) -> None:
    """An application can tell "nothing is kept" from "nobody answered"."""
    settings = {
        "api_key": "k" * 32,
        "base_url": "http://127.0.0.1:9",
        "request_timeout_s": 0.5,
        "connect_timeout_s": 0.5,
    }
    with SynapStore(Synap(**settings, storage_path=tmp_path)) as store, pytest.raises(SynapError):
        store.get(ANA, "k")


# --- in graphs -------------------------------------------------------------------------------------------------------


class State(TypedDict):
    """What the graphs below pass on."""

    user: str
    said: str
    known: list[str]


def remember(state: State, *, store) -> dict:
    """Keep what was said, and look up what is known."""
    space = ("users", state["user"], "facts")
    store.put(space, state["said"], {"text": state["said"]})
    return {"known": sorted(item.value["text"] for item in store.search(space))}


async def aremember(state: State, *, store) -> dict:
    """The same, awaited."""
    space = ("users", state["user"], "facts")
    await store.aput(space, state["said"], {"text": state["said"]})
    return {"known": sorted(item.value["text"] for item in await store.asearch(space))}


def graph_of(node, store):
    """A compiled graph of one node with a store."""
    graph = StateGraph(State)
    graph.add_node("remember", node)
    graph.add_edge(START, "remember")
    graph.add_edge("remember", END)
    return graph.compile(store=store)


def test_a_compiled_graph_keeps_and_finds(store) -> None:
    """What one run kept, the next one knows; another user's run does not."""
    graph = graph_of(remember, store)
    assert graph.invoke({"user": "ana", "said": "kiln", "known": []})["known"] == ["kiln"]
    assert graph.invoke({"user": "ana", "said": "glaze", "known": []})["known"] == ["glaze", "kiln"]
    assert graph.invoke({"user": "mateo", "said": "viola", "known": []})["known"] == ["viola"]


async def test_a_compiled_graph_keeps_and_finds_on_a_loop(store) -> None:
    """The same with async nodes, several runs at once."""
    graph = graph_of(aremember, store)
    runs = [graph.ainvoke({"user": f"u{n % 3}", "said": f"thing {n}", "known": []}) for n in range(9)]
    await asyncio.gather(*runs)
    last = await graph.ainvoke({"user": "u1", "said": "end", "known": []})
    assert last["known"] == ["end", "thing 1", "thing 4", "thing 7"]


def test_what_is_no_line_of_ours_in_a_journal_changes_nothing(here, tmp_path) -> None:
    """Somebody may talk in a conversation of that name; items stay what they are."""
    with SynapStore(here) as store:
        store.put(ANA, "k", {"v": 1})
        scope = journal_of(ANA, OWNERS, nobody=NOBODY)

        async def talk():
            async with SynapClient(settings=Settings.read(base_url="local", storage_path=tmp_path)) as client:
                for text in (
                    "hello",
                    "[1]",
                    '{"item": 3, "value": {}, "at": "2026-01-01"}',
                    '{"gone": "x", "at": "y"}',
                    "{" * 99,
                ):
                    await client.conversation.record_message(scope.conversation_id, "user", text, "ana")

        asyncio.run(talk())
        assert store.get(ANA, "k").value == {"v": 1}
        assert keys(store.search(ANA)) == ["k"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_the_store_on_its_own(here, tmp_path) -> None:
    """The child starts its own thread and file; both see what both kept."""
    program = (
        "import os, sys; from synap_integrations import Synap; from synap_integrations.langchain import SynapStore\n"
        "store = SynapStore(Synap(base_url='local', storage_path=sys.argv[1])); U = ('users', 'ana')\n"
        "store.put(U, 'parent', {'v': 1})\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    store.put(U, 'child', {'v': 2}); os._exit(0 if store.get(U, 'parent') else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "print(sorted(item.key for item in store.search(U)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("['child', 'parent']\n", 0), done.stderr


def test_items_are_turns_that_people_can_read(here, tmp_path) -> None:
    """The file has one line for each item, in the user's own memory, said by nobody but the assistant."""
    with SynapStore(here) as store:
        store.put(ANA, "food", {"text": "likes pizza"})
    (file,) = Path(tmp_path).rglob(FILE_NAME)
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT user_id, role, content FROM owned_turn ORDER BY id").fetchall()
    assert [(user, role) for user, role, _ in rows] == [(APPLICATION, "assistant"), ("ana", "assistant")]
    assert '"item": "food"' in rows[1][2]


def test_the_example_runs_as_printed(tmp_path) -> None:
    """``08_langgraph_store.py`` keeps, finds, and forgets; nothing on stderr."""
    program = Path(__file__).parents[2] / "examples" / "08_langgraph_store.py"
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | {"SYNAP_STORAGE_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ana: I fire clay at 1,240 degrees. | I live in Porto.\n" in done.stdout
    assert "best: I fire clay at 1,240 degrees.\n" in done.stdout
    assert "left: [('users', 'ben', 'notes')]\n" in done.stdout


def test_a_call_that_gets_no_thread_is_refused_and_leaves_nothing_open(here, monkeypatch) -> None:
    """As Python 3.12.0 to 3.12.2 refuse one at the end of the process; where there are threads again, it works."""

    def refuse(_) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with SynapStore(here) as store:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(ServiceUnavailableError, match="nothing was done"):
                store.put(ANA, "city", {"text": "Lisbon"})
        store.put(ANA, "city", {"text": "Porto"})
        assert store.get(ANA, "city").value == {"text": "Porto"}

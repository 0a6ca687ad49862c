"""The inspector's pages over HTTP: what they show, to whom, and what hostile text can do to them."""

import json
import re

import pytest
from encoders import SenseEmbeddings
from inspected import HOSTILE, KEY, World, many_turns, seen, served, told

from synap_integrations.ports import Lent
from synap_integrations.server.inspector.explain import reasons
from synap_integrations.server.inspector.following import Cursor
from synap_integrations.server.inspector.live import Transcript
from synap_integrations.server.inspector.pages import Ask, Pages
from synap_integrations.server.inspector.surroundings import Outside

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action {forms}; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
PLACES = (
    "/read/",
    "/read/?q=lisbon",
    "/read/events",
    "/read/bundles",
    "/read/users",
    "/read/health",
    "/read/users/1?q=flight+lisbon",
)


@pytest.fixture
def world():
    made = World()
    made.agent_run()
    yield made
    made.close()


@pytest.fixture
def site(world):
    with served(world) as served_world:
        yield served_world


def chat(world, name="flight"):
    """The number of a conversation."""
    return world.numbered("conversation", "conversation_id", name)


def test_a_page_needs_the_key(site):
    """Without the key a page is a challenge that a browser understands; with it, as header or password, a page."""
    for place in PLACES:
        status, headers, body = site.get(place, key=None)
        assert status == 401
        assert headers["www-authenticate"].startswith("Basic ")
        assert "Lisbon" not in body
        assert site.get(place, key="wrong")[0] == 401
        assert site.get(place, key="wrong", basic=True)[0] == 401
        assert site.get(place)[0] == 200
        assert site.get(place, basic=True)[0] == 200


def test_what_is_public_holds_no_data(site, world):
    """The shell and the files of the pages are there for everybody and say nothing about anybody."""
    status, _, shell = site.get("/", key=None)
    assert status == 200
    assert "/read/" in seen(shell).attributes("href")
    for name in ("app.js", "page.js", "live.js", "plots.js", "style.css", "favicon.svg", "uPlot.LICENSE.txt"):
        status, headers, body = site.get(f"/ui/{name}", key=None)
        assert status == 200
        assert headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"ana|Lisbon", body)
    assert "ana" not in seen(shell).text
    assert "Lisbon" not in shell


@pytest.mark.parametrize("path", ["/ui/../schema.sql", "/ui/..%2fschema.sql", "/ui/nothing.js", "/ui/", "/ui//app.js"])
def test_files_come_from_a_table(site, path):
    """No address reaches a file that is not one of the pages' own."""
    assert site.get(path)[0] in {401, 404}


@pytest.mark.parametrize("place", ["/", "/ui/app.js", *PLACES, "/read/bundles/999"])
def test_every_answer_carries_the_policy(site, place):
    """Each answer forbids what the pages do not need, word for word, and none can be kept by a cache."""
    _, headers, _ = site.get(place)
    # A search on the pages that need no script is a form to the page itself; nowhere else has a form a target.
    forms = "'self'" if place.startswith("/read/") else "'none'"
    assert headers["content-security-policy"] == CSP.format(forms=forms)
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in {"no-store", "no-cache"}


def test_a_compaction_is_among_what_was_pushed(site, world):
    """It says what it was, brings no items, and counts as an excerpt and not as an empty answer."""
    body = {"conversation_id": "flight", "user_id": "ana", "force": True}
    status, _, _ = site.call("POST", "/v1/conversations/compact", body)
    assert status == 200
    assert world.synap.pusher.drain()
    assert "A conversation was cut short" in site.page("/read/bundles").text
    assert "excerpts 1" in " ".join(site.page("/read/health").text.split())


def test_the_transcript_shows_everything_in_its_order(site, world):
    """A question, the bundle, the block a model saw, reasoning, the tool with its result, the answer: in this order."""
    page = site.page(f"/read/conversations/{chat(world)}")
    entries = [
        attrs["class"]
        for tag, attrs in page.elements
        if tag == "li" and re.match(r"turn|aside", attrs.get("class") or "")
    ]
    assert entries == [
        "turn user",
        "aside push",
        "aside shown",
        "aside thought",
        "aside tool",
        "aside push",
        "turn assistant",
    ]
    for text in ("When is my flight to Lisbon?", "Check the airline.", "timetable", '"leaves": "06:35"', "06:35."):
        assert text in page.text


def test_the_block_is_the_one_a_client_renders(site, world):
    """What is shown as the prompt's block is what the client's own renderer makes of the items that were reported."""
    page = site.page(f"/read/conversations/{chat(world)}")
    block = page.text[page.text.index("[synap-context ") : page.text.index("[/synap-context ")]
    assert "| * [said on " in block
    assert "I booked Lisbon for 14 June" in block


def test_a_block_stands_with_its_receipt(site, world):
    """Beside the block: pushed or asked for and why, its size, how long was waited, what was left out and why."""
    _, _, body = site.get(f"/read/conversations/{chat(world)}")
    html = body.decode() if isinstance(body, bytes) else body
    receipt = " ".join(re.sub(r"<[^>]+>", " ", html[html.index('<dl class="receipt') : html.index("</dl>")]).split())
    assert receipt == (
        "Came as it was pushed: the platform answered while we waited Size 61 of 800 tokens Waited 12 ms "
        "Items 1 shown, 3 left out: 2 over the token budget, 1 fit the question too little"
    )


def test_a_bundle_says_why_and_whether_it_was_of_use(site, world):
    """A bundle names the turn that caused it, what was looked for, its items with scores, and which were shown."""
    with world.synap.engine.database.read() as db:
        (number,) = db.execute("SELECT id FROM bundle WHERE used_at IS NOT NULL").fetchone()
    page = site.page(f"/read/bundles/{number}")
    for text in (
        "user message",
        "When is my flight to Lisbon?",
        "1.00",
        "shown to a model",
        "after the turn was stored",
    ):
        assert text in page.text
    assert "| * [said on " in page.text
    rates = site.page("/read/bundles").text
    assert "user message" in rates
    assert "Hit rate" in rates


def test_search_finds_what_was_said_and_who_said_it(site):
    """Words find conversations with the place marked; parts of names find them too; the syntax of queries is text."""
    found = site.page("/read/?q=booked")
    assert "booking" in found.text
    assert "mark" in {tag for tag, _ in found.elements}
    assert "flight" in site.page("/read/?q=fligh").text
    for query in ('"', "lisbon AND", "NEAR(", "-x", "body:lisbon", "%27%3B+DROP+TABLE+turn"):
        assert site.get(f"/read/?q={query.replace(' ', '+')}")[0] == 200


def test_the_ranking_adds_up(world):
    """Words, recency and neighbours of every turn make its score, and the scores are those of the ranking itself."""
    owner = world.synap.engine.owner_of("booking")
    why = reasons(world.synap.engine, owner, "when did I book the flight to lisbon", limit=10)
    ranked = dict(world.synap.engine.ranked(owner, "when did I book the flight to lisbon"))
    assert why
    for reason in why:
        assert reason.words + reason.recency + reason.neighbours + reason.models == pytest.approx(reason.score)
        assert reason.models == pytest.approx(0)
    assert [reason.score for reason in why] == sorted(
        (score for score in ranked.values() if any(score == reason.score for reason in why)), reverse=True
    )
    assert any(reason.neighbours > 0 for reason in why)


def test_what_a_lent_model_adds_is_named(site, world):
    """With an encoder of the application's the parts still make the score, and its part has a column of its own."""
    world.say("Our puppy chewed the sofa.")
    world.synap.engine.lend(Lent(SenseEmbeddings()))
    assert world.synap.engine.meaning.drain()
    why = reasons(world.synap.engine, world.synap.engine.owner_of("chat"), "which canine is it", limit=5)
    assert why[0].turn.content == "Our puppy chewed the sofa."
    assert why[0].models > 0
    for reason in why:
        assert reason.words + reason.recency + reason.neighbours + reason.models == pytest.approx(reason.score)
    assert "Models" in site.page("/read/users/1?q=which+canine+is+it").text
    assert "Models" not in site.page("/read/users/1").text


def test_memory_says_what_would_be_injected_now(site, world):
    """A question gets the bundle that a request would bring, its block, and the ranking; asking stores nothing."""
    number = world.numbered("owner", "user_id", "ana")
    before = world.synap.engine.stats()
    page = site.page(f"/read/users/{number}?q=when+is+the+early+flight")
    assert "The bundle that would be pushed" in page.text
    assert "[synap-context " in page.text
    assert "Neighbours" in page.text
    assert world.synap.engine.stats() == before


def test_health_adds_up_and_says_so(site, world):
    """Every sum equals its parts, and one that does not is called by name."""
    assert "everything adds up" in site.page("/read/health").text
    with world.synap.engine.database.write() as db:
        db.execute("UPDATE conversation SET turns = turns + 1 WHERE conversation_id = 'flight'")
    assert "something does not add up" in site.page("/read/health").text


def test_redaction_leaves_no_word(site, world):
    """On a page for a screenshot neither what was said nor who said it is anywhere in the markup."""
    number = chat(world)
    for place in (
        "/read/?",
        "/read/events?",
        "/read/bundles?",
        "/read/users?",
        "/read/users/1?q=flight&",
        f"/read/conversations/{number}?",
    ):
        _, _, body = site.get(f"{place}redact=1")
        page = seen(body)
        shown = page.text + " ".join(page.attributes("title"))
        assert not re.search(r"Lisbon|booked|06:35|\bana\b|Check the airline", shown), place
        links = [href for href in page.attributes("href") if href.startswith("/read/conversations/")]
        assert all("redact=1" in href or href.endswith(("json", "markdown")) for href in links)


def test_a_conversation_can_be_taken_away(site, world):
    """JSON holds every entry, Markdown every turn; text that looks like markup stays text in both."""
    world.say("# Not a heading\n```\nnot code", conversation="flight")
    number = chat(world)
    status, headers, body = site.get(f"/read/conversations/{number}/json")
    taken = json.loads(body)
    assert status == 200
    assert "attachment" in headers["content-disposition"]
    kinds = [entry["kind"] for entry in taken["entries"]]
    assert kinds.count("turn") == 3
    assert {"tool", "thinking", "pushed", "context_used"} <= set(kinds)
    tool = next(entry for entry in taken["entries"] if entry["kind"] == "tool")
    assert json.loads(tool["call"]["tool_args_json"]) == {"city": "Lisbon", "day": 14}
    text = site.get(f"/read/conversations/{number}/markdown")[2]
    assert "> When is my flight to Lisbon?" in text
    assert "> # Not a heading" in text
    assert "\n# Not a heading" not in text


def test_to_forget_somebody_takes_their_name(site, world):
    """Nobody is forgotten without their id, with a foreign one, or as a form; with it, nothing of them is left."""
    world.say("I live in Porto.", user="bo", conversation="other")
    number = world.numbered("owner", "user_id", "ana")
    place = f"/read/users/{number}/forget"
    for body in ({}, {"confirm": "bo"}, {"confirm": None}, [], "ana"):
        assert site.call("POST", place, body)[0] == 422
    assert site.call("POST", place, {"confirm": "ana"}, Content_Type="text/plain")[0] == 415
    assert site.call("POST", place, {"confirm": "ana"}, key=None)[0] == 401
    assert site.call("POST", place, {"confirm": "ana"}, basic=True)[0] == 401
    assert site.call("POST", place, {"confirm": "ana"}, Origin="http://evil.example")[0] == 403
    assert site.get(f"/read/users/{number}")[0] == 200
    status, _, body = site.call("POST", place, {"confirm": "ana"})
    assert status == 200
    assert json.loads(body)["forgotten"]["turns"] == 4
    assert site.get(f"/read/users/{number}")[0] == 404
    assert "Lisbon" not in site.get("/read/?q=lisbon")[2].replace('value="lisbon"', "")
    assert "bo" in site.page("/read/users").text


def test_pages_that_only_read_forget_nobody(world):
    """Read-only pages have no form to forget with, and refuse the request of somebody who writes it by hand."""
    with served(world, writable=False) as site:
        assert not [1 for tag, attrs in site.page("/read/users/1").elements if tag == "form" and "data-forget" in attrs]
        status, _, body = site.call("POST", "/read/users/1/forget", {"confirm": "ana"})
    assert status == 403
    assert "--write" in json.loads(body)["detail"]


@pytest.mark.parametrize("path", ["bundles/0", "bundles/99999999999999999999999", "users/77", "conversations/77"])
def test_what_is_not_there_is_a_page_that_says_so(site, path):
    """A number of nothing, however large, is a 404 with a way back, and never an error of ours."""
    status, _, body = site.get(f"/read/{path}")
    assert status == 404
    assert "nothing here" in body


@pytest.mark.parametrize("query", ["page=-1", "page=abc", "page=99999999999999999999", "page=0", "until=-5", "until=x"])
def test_nonsense_in_a_query_is_not_an_error(site, world, query):
    """A page number that is none counts as not given."""
    assert site.get(f"/read/?{query}")[0] == 200
    assert site.get(f"/read/conversations/{chat(world)}?{query}")[0] == 200


def test_hostile_text_in_every_field_stays_text():
    """Text that tries to be markup, in every field that is stored, makes no element and no attribute on any page."""
    clean, fouled = World(), World()
    for at, text in enumerate(HOSTILE):
        foul(clean, f"harmless {at}" + " and long" * (at % 5))
        foul(fouled, text)
    with served(clean) as site:
        known = set().union(*(vocabulary(site.page(place)) for place in every_place(clean)))
    with served(fouled) as site:
        for place in every_place(fouled):
            page = site.page(place)
            assert vocabulary(page) <= known, place
            assert "pwned" not in page.attributes("id")
            for value in page.attributes("href") + page.attributes("src") + page.attributes("action"):
                assert value.startswith(("/", "#", "?")), value
    clean.close()
    fouled.close()


def foul(world, text):
    """The text in every field that a client can fill."""
    named = "".join(letter for letter in text if letter.isprintable())  # ids admit no control characters
    ids = {"user": f"u{named}", "conversation": f"c{named}"}
    world.say(text, metadata={"speaker": text[:90], "synap_conversation_id": text, text: text}, **ids)
    world.say(f"lisbon {text}", role="assistant", **ids)
    world.happen("agent_thinking", content=text, **ids)
    call = {"tool_name": text, "tool_call_id": text}
    world.happen("tool_call", tool_args_json=json.dumps({text: text, "q": "lisbon"}), **call, **ids)
    world.happen("tool_result", tool_result_json=text, **call, **ids)
    world.happen("context_request", search_queries=[text, "lisbon"], **ids)
    world.show_last_bundle(**ids)


def every_place(world):
    """Every page about everything in this world."""
    with world.synap.engine.database.read() as db:
        rows = {
            name: [row[0] for row in db.execute(f"SELECT id FROM {table} ORDER BY id")]
            for name, table in (("conversations", "conversation"), ("users", "owner"), ("bundles", "bundle"))
        }
    places = [
        "/read/",
        "/read/events",
        "/read/events?q=u",
        "/read/bundles",
        "/read/users",
        "/read/health",
        "/read/?q=lisbon",
    ]
    for kind in ("conversations", "users", "bundles"):
        places += [f"/read/{kind}/{number}" for number in rows[kind][: len(HOSTILE)]]
    return places


def vocabulary(page):
    """What kinds of elements a page has, with the names of their attributes."""
    return {(tag, name) for tag, attrs in page.elements for name in [*attrs, ""]}


def test_a_live_transcript_grows_and_resumes(site, world):
    """Entries come as they happen; whoever comes back with the last id misses nothing and gets nothing twice."""
    number = chat(world)
    (after,) = [
        re.search(r"after=([\d.]+)", attrs["data-live"])[1]
        for _, attrs in site.page(f"/read/conversations/{number}").elements
        if "data-live" in attrs
    ]
    with site.live(number, after) as stream:
        assert stream.status == 200
        assert stream.getheader("content-type").startswith("text/event-stream")
        world.say("And the way back?", conversation="flight")
        (turn, push), cursor = told(stream, 2)
    assert "And the way back?" in turn
    assert "pushed" in push
    world.say("On 24 June.", role="assistant", conversation="flight")
    world.say("Not for this reader.", conversation="booking")
    with site.live(number, cursor) as stream:
        (entry,), _ = told(stream, 1)
    assert "On 24 June." in entry
    assert "Not for this reader" not in entry


def test_a_result_that_comes_late_stands_with_its_call(world):
    """The entry of a tool's result is the entry of its call, under the same name, so that a page replaces it."""
    world.happen("tool_call", conversation="flight", tool_name="gate", tool_call_id="c9", tool_args_json="{}")
    pages = Pages(world.synap, Outside())
    news = Transcript(pages, pages.chat(chat(world)), Ask())
    here, _ = news.since(Cursor(0, 0, 0))
    world.happen("tool_result", conversation="flight", tool_name="gate", tool_call_id="c9", tool_result_json='"B7"')
    _, text = news.since(here)
    (name,) = [attrs["id"] for tag, attrs in seen(text).elements if tag == "li"]
    assert name == f"tool-{max_event(world, 'tool_call')}"
    assert "Called with" in text
    assert "B7" in text


def max_event(world, kind):
    """The number of the newest event of this kind."""
    with world.synap.engine.database.read() as db:
        return db.execute("SELECT max(id) FROM event WHERE kind = ?", (kind,)).fetchone()[0]


@pytest.mark.parametrize("cursor", ["x", "1.2", "1.2.3.4", "-1.0.0", "1.2.²", "99999999999999999999.0.0"])
def test_a_cursor_of_nowhere_is_refused(site, world, cursor):
    """A last event id that no stream gave is an error of the caller."""
    _, _, body = site.get(
        f"/read/conversations/{chat(world)}/live?after={cursor.encode().hex() if '²' in cursor else cursor}"
    )
    assert json.loads(body)["code"] == "INVALID_INPUT"


def test_a_long_conversation_comes_in_parts(world):
    """A page holds 200 turns and the way to those before them; together the parts hold every turn once."""
    many_turns(world, 1000)
    with served(world) as site:
        found, place = [], f"/read/conversations/{chat(world, 'long')}"
        while place:
            page = site.page(place)
            held = [int(at) for at in re.findall(r"Turn number (\d+):", page.text)]
            assert len(held) == 200
            found = held + found
            place = next((href for href in page.attributes("href") if f"until={held[0] - 1}" in href), None)
    assert found == list(range(1, 1001))


def test_an_empty_synap_says_how_to_begin():
    """Every page of a Synap that knows nothing is a page, and the first one says what to do."""
    world = World()
    with served(world) as site:
        assert "SynapCallbackHandler" in site.page("/read/").text
        for place in ("/read/events", "/read/bundles", "/read/users", "/read/health", "/read/?q=x"):
            assert site.get(place)[0] == 200
    world.close()


def test_the_key_is_on_no_page(site, world):
    """No page, script or export repeats the key."""
    for place in ("/", "/ui/app.js", *PLACES, f"/read/conversations/{chat(world)}/json"):
        assert KEY not in site.get(place)[2]

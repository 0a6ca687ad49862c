"""The inspector's event stream over HTTP: what it lists, how it is filtered and paged, and how it grows."""

import json
import re
from datetime import timedelta

import pytest
from inspected import World, many_turns, seen, served, told

from synap_integrations.server.inspector.event_stream import EventStream, Wanted
from synap_integrations.server.inspector.following import Cursor


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


def names(page):
    """What the rows of a page are called, in order."""
    return [attrs["id"] for tag, attrs in page.elements if tag == "tr" and "id" in attrs]


def kinds(world, **wanted):
    """Direction and type of the newest events that are wanted, newest first."""
    rows = EventStream(world.synap.engine.database).newest(Wanted(**wanted), before=None, limit=50)
    return [(row.direction, row.kind) for row in rows]


def test_it_lists_what_went_both_ways_newest_first(site, world):
    """A turn, its bundle, the report, reasoning, a tool, the answer: each with its direction, the last one on top."""
    assert kinds(world, text="flight") == [
        ("in", "assistant_message"),
        ("in", "tool_result"),
        ("out", "context_bundle"),
        ("in", "tool_call"),
        ("in", "agent_thinking"),
        ("in", "context_used"),
        ("in", "context_fetch"),
        ("out", "context_bundle"),
        ("in", "user_message"),
    ]
    page = site.page("/read/events?q=flight")
    text = " ".join(page.text.split())
    assert len(names(page)) == 9
    assert "→ to the server assistant message On 14 June at 06:35." in text
    assert "← to the client context bundle" in text
    assert "call call-1" in text
    assert [href for href in page.attributes("href") if re.fullmatch(r"/read/bundles/\d+", href)]


def test_it_says_how_long_things_took_where_that_is_known(world):
    """A bundle is timed from the commit of its cause, an event from the clock of its client; nothing else is timed."""
    later = world.clock.now + timedelta(seconds=1)
    world.happen("tool_call", tool_name="gate", tool_call_id="c9", sent_at_ms=int(later.timestamp() * 1000))
    sent = int(world.clock.now.timestamp() * 1000) - 30
    world.happen("agent_thinking", content="Well.", sent_at_ms=sent)
    rows = {row.kind: row for row in EventStream(world.synap.engine.database).newest(Wanted(), before=None, limit=2)}
    assert rows["tool_call"].took_ms is None  # sent after it came: no clock can be trusted that far
    assert rows["agent_thinking"].took_ms == pytest.approx(35, abs=1.1)
    (bundle,) = EventStream(world.synap.engine.database).newest(
        Wanted(direction="out", text="flight"), before=None, limit=1
    )
    assert bundle.took_ms == pytest.approx(0)
    assert bundle.related.startswith("tool_call-")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("direction=out", {"context_bundle"}),
        ("type=tool_call", {"tool_call"}),
        ("type=assistant_message", {"assistant_message"}),
        ("direction=out&type=tool_call", set()),
        ("q=BOOK&direction=in", {"user_message", "assistant_message"}),
        ("q=nobody", set()),
        ("q=%25", set()),
        ("q=%27%3B+DROP+TABLE+turn", set()),
    ],
)
def test_it_can_be_filtered(site, query, expected):
    """By direction, type, and any part of the name of a user or conversation; together they all have to hold."""
    page = site.page(f"/read/events?{query}")
    found = {attrs["id"].partition("-")[0] for tag, attrs in page.elements if tag == "tr" and "id" in attrs}
    assert found == {{"context_bundle": "bundle", "tool_call": "event"}.get(kind, "turn") for kind in expected}
    for kind in expected:
        assert kind.replace("_", " ") in page.text
    if not expected:
        assert "No event is like this" in page.text


@pytest.mark.parametrize("query", ["direction=up", "type=nothing", "type=%3Cscript%3E", "before=x", "before=1.2"])
def test_what_is_no_choice_counts_as_not_given(site, query):
    """A filter that is none of the choices, or a place that is none, shows the stream as it is."""
    assert names(site.page(f"/read/events?{query}")) == names(site.page("/read/events"))


def test_all_of_it_can_be_paged_through(world):
    """The pages together hold every event once and in order, also while new ones come in."""
    many_turns(world, 120)
    with served(world) as site:
        found, place = [], "/read/events?direction=in"
        while place:
            page = site.page(place)
            assert len(names(page)) <= 50
            found += names(page)
            place = next((attrs["href"] for tag, attrs in page.elements if attrs.get("rel") == "next"), None)
            world.say("Said while somebody turns pages.")
    with world.synap.engine.database.read() as db:
        (turns,) = db.execute("SELECT count(*) FROM turn WHERE content NOT LIKE 'Said while%'").fetchone()
        (events,) = db.execute("SELECT count(*) FROM event").fetchone()
    assert len(found) == len(set(found)) == turns + events
    numbers = [int(name.partition("-")[2]) for name in found if name.startswith("turn-")]
    assert numbers == sorted(numbers, reverse=True)


def test_forgotten_users_are_gone_from_it(site, world):
    """The stream is made from what is kept: whoever is forgotten is in no row."""
    world.say("I live in Porto.", user="bo", conversation="other")
    number = world.numbered("owner", "user_id", "ana")
    assert site.call("POST", f"/read/users/{number}/forget", {"confirm": "ana"})[0] == 200
    page = site.page("/read/events")
    assert "Lisbon" not in page.text
    assert {name.partition("-")[0] for name in names(page)} <= {"turn", "bundle"}
    assert "bo" in page.text


def test_it_grows_and_resumes(site, world):
    """Rows come as they are stored, only those that the filter wants; with the last id none is missed or repeated."""
    (place,) = site.page("/read/events?type=user_message&q=flight").attributes("data-live")
    after = re.search(r"after=([\d.]+)", place)[1]
    with site.following(place, after) as stream:
        assert stream.status == 200
        world.say("Not for this reader.", conversation="booking")
        world.say("Nor is this.", conversation="flight", role="assistant")
        world.say("And the way back?", conversation="flight")
        (row,), cursor = told(stream, 1)
    assert "And the way back?" in row
    assert len(names(seen(row))) == 1
    world.say("Said while nobody looked.", conversation="flight")
    with site.following(place, cursor) as stream:
        (row,), _ = told(stream, 1)
    assert "Said while nobody looked." in row


def test_a_reader_far_behind_gets_it_in_parts(world):
    """What is told at once is bounded, and the parts together hold every row once."""
    many_turns(world, 450)
    stream, cursor, parts = EventStream(world.synap.engine.database), Cursor(), []
    while True:
        cursor, rows = stream.since(Wanted(direction="in", text="long"), cursor, limit=200)
        if not rows:
            break
        parts.append([row.number for row in rows])
    assert [len(part) for part in parts] == [200, 200, 50]
    assert len({number for part in parts for number in part}) == 450
    assert cursor == stream.end()


@pytest.mark.parametrize("key", [None, "wrong"])
def test_nobody_follows_it_without_the_key(site, key):
    """Page and stream of events are refused like every other page, in every way that a stranger might try."""
    for place in ("/read/events", "/read/events/live"):
        assert site.get(place, key=key)[0] == 401
        assert site.get(place, Origin="http://evil.example")[0] == 403
        assert site.get(place, Host="evil.example")[0] == 421
        assert site.get(place, Sec_Fetch_Site="cross-site")[0] == 403
    status, _, body = site.get("/read/events/live?after=nowhere")
    assert (status, json.loads(body)["code"]) == (400, "INVALID_INPUT")

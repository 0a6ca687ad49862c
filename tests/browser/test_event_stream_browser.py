"""The inspector's event stream in a real browser: it grows at its top, pauses, is filtered, and stays small."""

import pytest
from inspected import World, enter, many_turns, served


@pytest.fixture(scope="module")
def world():
    made = World()
    made.agent_run()
    for number in range(30):
        made.say(f"More about trip {number}.", conversation=f"trip-{number % 6}")
    yield made
    made.close()


def rows(tab):
    """What the rows of the event stream are called, in order."""
    return tab.eval_on_selector_all("table.stream tbody > tr", "rows => rows.map(row => row.id)")


def test_the_event_stream_grows_at_its_top_until_it_is_paused(tab, site, world):
    """New events stand on top; paused by a key nothing moves; resumed, what was missed is there, once and in order."""
    enter(tab, site, "/events?q=flight")
    tab.wait_for_selector("#live.on")
    world.say("Said while somebody looks at events.", conversation="flight")
    tab.wait_for_selector("table.stream tr:has-text('Said while somebody looks at events.')")
    tab.wait_for_function("document.querySelector('table.stream tbody > tr').id.startsWith('bundle-')")
    tab.keyboard.press("p")
    tab.wait_for_selector("#live:has-text('paused')")
    held = rows(tab)
    witness = tab.context.new_page()
    enter(witness, site, "/events?q=flight")
    witness.wait_for_selector("#live.on")
    world.say("Said while it was paused.", conversation="flight")
    world.say("Not wanted here.", conversation="booking")
    witness.wait_for_selector("table.stream tr:has-text('Said while it was paused.')")
    assert rows(tab) == held
    witness.close()
    tab.focus("button:has-text('Resume')")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("table.stream tr:has-text('Said while it was paused.')")
    tab.wait_for_selector("button:has-text('Pause')")
    tab.wait_for_function("document.querySelector('table.stream tbody > tr').id.startsWith('bundle-')")
    found = rows(tab)
    assert len(found) == len(set(found)) == len(held) + 2
    assert found[2:] == held
    assert "Not wanted here." not in tab.locator("main").inner_text()
    assert tab.faults == []


def test_an_event_stream_that_was_empty_begins(tab):
    """Where nothing had happened, the first event takes the place of the words that say so."""
    world = World()
    with served(world) as site:
        enter(tab, site, "/events")
        assert tab.locator("h2:has-text('No events yet')").is_visible()
        tab.wait_for_selector("#live.on")
        world.say("The first words.")
        tab.wait_for_selector("table.stream tr:has-text('The first words.')")
        assert not tab.locator("h2:has-text('No events yet')").is_visible()
    world.close()


def test_a_page_that_is_left_open_stays_small(tab, site, world):
    """However many events come in, the page keeps the newest five hundred."""
    enter(tab, site, "/events?q=many")
    tab.wait_for_selector("#live.on")
    many_turns(world, 1200, conversation="many")
    tab.wait_for_selector("table.stream tr:has-text('Turn number 1200:')", timeout=60_000)
    assert tab.locator("table.stream tbody > tr").count() == 500
    assert tab.faults == []


def test_events_are_filtered_from_the_keyboard(tab, site):
    """The slash goes to the filter, and Enter applies it; what is chosen stands in the address, and nothing else."""
    enter(tab, site, "/events")
    tab.select_option("#type", "tool_call")
    tab.locator("main").focus()
    tab.keyboard.press("/")
    tab.keyboard.type("FLIGHT")
    tab.keyboard.press("Enter")
    tab.wait_for_selector('body[data-shown="/read/events?q=FLIGHT&type=tool_call"] main:not(.loading)')
    assert len(rows(tab)) == 1
    assert tab.locator("#type").input_value() == "tool_call"
    tab.click("a:has-text('Show all')")
    tab.wait_for_selector('body[data-shown="/read/events"] main:not(.loading)')
    assert len(rows(tab)) == 50
    tab.click("a:has-text('Older')")
    tab.wait_for_selector("a:has-text('← Newest')")
    assert not tab.locator("[data-pause]").count()
    assert tab.faults == []

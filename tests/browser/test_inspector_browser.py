"""The inspector in a real browser: the key, the keyboard, a transcript that grows, hostile text, accessibility."""

import re
from pathlib import Path

import pytest
from inspected import HOSTILE, KEY, World, enter, many_turns, served

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
SHOWN = {
    "conversations": "/",
    "search": "/?q=lisbon",
    "conversation": "/conversations/2",
    "events": "/events",
    "no-events": "/events?q=nobody&type=tool_call",
    "bundles": "/bundles",
    "bundle": "/bundles/2",
    "users": "/users",
    "user": "/users/1?q=when+is+the+flight",
    "health": "/health",
}


@pytest.fixture(scope="module")
def world():
    made = World()
    made.agent_run()
    for number in range(30):
        made.say(f"More about trip {number}, the tiles of Lisbon and the tram.", conversation=f"trip-{number % 6}")
        made.show_last_bundle(conversation=f"trip-{number % 6}")
    many_turns(made, 600)
    yield made
    made.close()


def test_the_key_is_taken_from_the_address_and_out_of_it(tab, site):
    """The key behind the # opens the pages, leaves the address, survives a reload, and is gone with the tab."""
    tab.goto(site.url)
    assert tab.locator("#key-form").is_visible()
    enter(tab, site)
    assert KEY not in tab.url
    assert "key" not in tab.url
    tab.reload()
    tab.wait_for_selector('body[data-shown="/read/"]')
    assert tab.locator("h1").inner_text() == "Conversations"
    other = tab.context.new_page()
    other.goto(site.url)
    assert other.locator("#key-form").is_visible()
    assert tab.faults == []


def test_a_wrong_key_is_refused_and_a_right_one_can_be_typed(tab, site):
    """A key that is wrong brings the question back, with a word about it; the right one opens the pages."""
    tab.goto(site.url)
    tab.fill("#key", "wrong")
    tab.press("#key", "Enter")
    tab.wait_for_selector("#wrong-key:not([hidden])")
    tab.fill("#key", KEY)
    tab.press("#key", "Enter")
    tab.wait_for_selector('body[data-shown="/read/"]')
    assert tab.locator(".card").count() > 3


def test_an_address_without_the_key_leads_to_the_page_by_the_key(tab, site):
    """The address of a page asks for the key, takes it or the whole printed address, and goes on to that page."""
    answer = tab.goto(f"{site.url}/read/events?type=tool_call")
    assert answer.status == 401
    assert tab.locator("h1").inner_text() == "The key, please"
    assert tab.evaluate("document.activeElement.id") == "key"
    tab.keyboard.type(f"{site.url}/#key={KEY}")
    tab.keyboard.press("Enter")
    tab.wait_for_selector('body[data-shown="/read/events?type=tool_call"] main:not(.loading)')
    assert KEY not in tab.url
    tab.goto(f"{site.url}/read/health")  # with the key of this tab it is on its way already
    tab.wait_for_selector('body[data-shown="/read/health"] main:not(.loading)')
    assert tab.context.cookies() == []
    refused = [fault for fault in tab.faults if "401" not in fault]
    assert refused == []


def test_the_way_in_is_accessible_and_leads_nowhere_else(browser, site):
    """Axe finds no violation at the door, whichever door it is; a refused key leaves no page behind it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(locale="en-GB", viewport={"width": 360, "height": 900}, color_scheme="dark")
    page = context.new_page()
    for place in ("/", "/read/events", "/v1/nothing"):
        page.goto(f"{site.url}{place}")
        page.wait_for_selector("#key-form:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.locator("nav").count() == 0
        assert [fault["id"] for fault in axe.Axe().run(page).response["violations"]] == []
    enter(page, site)
    page.evaluate("sessionStorage.setItem('synap-key', 'of-yesterday')")
    page.goto(f"{site.url}/#/events")
    page.wait_for_selector("#wrong-key:not([hidden])")
    assert page.locator("nav, #redact").count() == 0
    assert [fault["id"] for fault in axe.Axe().run(page).response["violations"]] == []
    context.close()


def test_what_is_not_a_page_is_said_and_not_shown(tab, site):
    """An address of nothing says so, and the page that was there can be read on."""
    enter(tab, site)
    tab.goto(f"{site.url}/#/nothing/of/the/kind")
    tab.wait_for_selector("#notice:not([hidden])")
    tab.wait_for_selector("main:not(.loading) h1:has-text('Conversations')")
    assert tab.locator("#notice").inner_text()


def test_the_keyboard_alone_goes_everywhere(tab, site):
    """Search, open, go back and switch pages without a mouse; links carry one between pages without a reload."""
    enter(tab, site)
    tab.keyboard.press("/")
    tab.keyboard.type("timetable airline booked")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("main mark")
    tab.locator(".card").first.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".transcript")
    for keys, heading in (
        ("ge", "Events"),
        ("gp", "Pushed"),
        ("gm", "Memory"),
        ("gh", "Health"),
        ("gc", "Conversations"),
    ):
        for key in keys:
            tab.keyboard.press(key)
        tab.wait_for_selector(f"h1:has-text('{heading}')")
    tab.go_back()
    tab.wait_for_selector("h1:has-text('Health')")
    tab.keyboard.press("r")
    tab.wait_for_selector('#redact[aria-checked="true"]')
    assert tab.faults == []


def test_a_transcript_grows_before_ones_eyes(tab, site, world):
    """What is said appears without a reload; after a broken connection the page catches up and repeats nothing."""
    number = world.numbered("conversation", "conversation_id", "flight")
    enter(tab, site, f"/conversations/{number}")
    tab.wait_for_selector("#live.on")
    world.say("Said while somebody looks.", conversation="flight")
    tab.wait_for_selector(".turn:has-text('Said while somebody looks.')")
    tab.context.set_offline(True)
    world.say("Said while the line was down.", conversation="flight")
    tab.context.set_offline(False)
    tab.wait_for_selector(".turn:has-text('Said while the line was down.')", timeout=15_000)
    names = tab.eval_on_selector_all(".transcript > li", "lines => lines.map(line => line.id)")
    assert len(names) == len(set(names))


def test_a_question_shows_what_would_be_injected(tab, site, world):
    """Typing a question into a user's memory shows the bundle, the block and the ranking."""
    number = world.numbered("owner", "user_id", "ana")
    enter(tab, site, f"/users/{number}")
    tab.fill("#q", "when is the early flight")
    tab.press("#q", "Enter")
    tab.wait_for_selector("pre.prompt")
    assert "[synap-context " in tab.locator("pre.prompt").inner_text()
    assert tab.locator("table.ranking tbody tr").count() > 3


def test_somebody_is_forgotten_only_after_their_id_was_typed(tab):
    """The button wakes when the id is typed, and then the user is gone."""
    world = World()
    world.say("I live in Lisbon.")
    with served(world) as site:
        enter(tab, site, "/users/1")
        button = tab.locator("form[data-forget] button")
        assert button.is_disabled()
        tab.fill("#confirm", "an")
        assert button.is_disabled()
        tab.fill("#confirm", "ana")
        button.click()
        tab.wait_for_selector("h2:has-text('Nobody is known yet')")
    assert world.synap.engine.stats()["turns"] == 0
    world.close()


def test_exports_are_saved(tab, site):
    """Both exports arrive as files with a name, although the key travels in a header."""
    enter(tab, site, "/conversations/2")
    for word, ending in (("Markdown", ".md"), ("JSON", ".json")):
        with tab.expect_download() as saved:
            tab.click(f"a:has-text('{word}')")
        assert saved.value.suggested_filename.endswith(ending)


def test_hostile_text_does_nothing_in_a_browser(tab):
    """Stored text runs nowhere: not on a page, not when it arrives live, not in a search; no policy was violated."""
    world = World()
    for text in HOSTILE:
        named = "".join(letter for letter in text if letter.isprintable())
        ids = {"user": f"u{named}", "conversation": "hostile"}
        world.say(text, **ids)
        world.happen("agent_thinking", content=text, **ids)
        world.happen("tool_call", tool_name=text, tool_call_id=text, tool_args_json="{}", **ids)
        world.show_last_bundle(**ids)
    with served(world) as site:
        for place in (
            "/",
            "/users",
            "/events",
            "/bundles",
            "/?q=script",
            *(f"/conversations/{at}" for at in range(1, 8)),
        ):
            enter(tab, site, place)
            for text in tab.locator("details").all()[:3]:
                text.evaluate("details => { details.open = true; }")
        tab.wait_for_selector("#live.on")
        for text in HOSTILE:
            named = "".join(letter for letter in HOSTILE[6] if letter.isprintable())
            world.say(f"live {text}", user=f"u{named}", conversation="hostile")
        tab.wait_for_timeout(800)
        assert tab.evaluate("window.pwned") is None
        assert tab.locator("#pwned").count() == 0
    assert tab.faults == []
    world.close()


def test_a_thousand_turns_are_no_burden(tab, site, world):
    """A page of a long conversation is on screen within seconds and leads to the turns before it."""
    number = world.numbered("conversation", "conversation_id", "long")
    enter(tab, site)
    took_ms = tab.evaluate(
        """async (place) => {
            const started = performance.now();
            location.hash = place;
            while (!document.querySelector('.turn:last-of-type')) await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            return performance.now() - started;
        }""",
        f"/conversations/{number}",
    )
    assert tab.locator(".turn").count() == 200
    assert took_ms < 5000
    tab.click("a:has-text('Turns up to 400')")
    tab.wait_for_selector(".turn:has-text('Turn number 400:')")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
def test_everything_can_be_read_below_read(browser, site, javascript):
    """With the key as a password and no script at all, every page can be read and every link followed."""
    context = browser.new_context(
        java_script_enabled=javascript, http_credentials={"username": "me", "password": KEY, "send": "always"}
    )
    page = context.new_page()
    page.goto(f"{site.url}/read/")
    for word, heading in (("Events", "Events"), ("Pushed", "Pushed"), ("Memory", "Memory"), ("Health", "Health")):
        page.click(f"nav a:has-text('{word}')")
        assert page.locator("h1").inner_text() == heading
    assert ("times are UTC" in page.locator("footer").inner_text()) is not javascript
    page.goto(f"{site.url}/read/conversations/2")
    page.click("summary:has-text('timetable')")
    assert page.locator("pre:has-text('06:35')").is_visible()
    context.close()


def test_a_search_without_a_script_is_a_plain_form(browser, site):
    """Typing and pressing Enter finds, asks and stays redacted, where no script runs."""
    context = browser.new_context(
        java_script_enabled=False, http_credentials={"username": "me", "password": KEY, "send": "always"}
    )
    page = context.new_page()
    page.goto(f"{site.url}/read/")
    page.fill("#q", "early flight")
    page.press("#q", "Enter")
    page.wait_for_url("**/read/?q=early+flight")
    assert page.locator("mark:has-text('flight')").first.is_visible()
    page.goto(f"{site.url}/read/users/1")
    page.fill("#q", "when is the flight")
    page.click("button:has-text('Ask')")
    page.wait_for_url("**/read/users/1?q=when+is+the+flight")
    assert page.locator("h3:has-text('The bundle that would be pushed')").is_visible()
    page.goto(f"{site.url}/read/events")
    assert not page.locator("button:has-text('Pause')").is_visible()
    page.select_option("#direction", "out")
    page.fill("#q", "flight")
    page.click("button:has-text('Filter')")
    page.wait_for_url("**/read/events?q=flight&direction=out&type=")
    assert set(page.locator("table.stream .way").all_inner_texts()) == {"← to the client"}
    page.goto(f"{site.url}/read/?redact=1")
    page.fill("#q", "flight")
    page.press("#q", "Enter")
    page.wait_for_url("**/read/?q=flight&redact=1")
    assert page.locator("mark").first.inner_text() == "••••••"
    context.close()


@pytest.mark.parametrize("name", SHOWN)
def test_every_page_is_accessible_and_fits_a_phone(browser, site, name):
    """Axe finds no violation, in light on a desk and in dark on a phone; nothing runs off the screen of a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(locale="en-GB", timezone_id="UTC")
    page = context.new_page()
    enter(page, site, SHOWN[name])
    for scheme, width, judged in (
        ("light", 1280, True),
        ("dark", 1280, False),
        ("light", 360, False),
        ("dark", 360, True),
    ):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=ARTIFACTS / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page).response["violations"] if judged else []
        assert [(fault["id"], [node["html"][:120] for node in fault["nodes"][:3]]) for fault in found] == []
    context.close()


def test_the_health_page_plots(tab, site):
    """Delays are drawn, and the table behind a plot stays for who cannot see it."""
    enter(tab, site, "/health")
    tab.wait_for_selector(".plot canvas")
    assert tab.locator(".samples tbody tr").count() > 10
    assert re.match(r"Health", tab.title())
    assert tab.faults == []

"""What is answered to somebody without the key: a browser gets a page that shows the way in, a program JSON."""

import json

import pytest
from inspected import KEY, World, seen, served

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
ANYWHERE = (
    "/read/",
    "/read/events",
    "/read/conversations/1",
    "/read/events/live",
    "/v1/credits/balance",
    "/nothing",
    "/readable",
)


@pytest.fixture(scope="module")
def site():
    world = World()
    world.agent_run()
    with served(world) as served_world:
        yield served_world
    world.close()


@pytest.mark.parametrize("place", ANYWHERE)
@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_browser_is_shown_the_way_in(site, place, key):
    """Wherever it goes without the key, it gets 401 and a page that says where the key is, with nobody's data."""
    status, headers, body = site.get(place, key=key, Accept=BROWSER)
    page = seen(body)
    assert status == 401
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"] == POLICY
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers
    assert "synap dev" in page.text
    assert "start it again" in page.text
    assert KEY not in body
    assert not [word for word in ("ana", "Lisbon", "flight", ":memory:", "conversations/") if word in body]
    assert len(body) < 4000


def test_nothing_on_it_comes_from_elsewhere_or_stands_in_the_page(site):
    """Its script and style are files of ours that are public; no element carries code, and the form has no target."""
    page = seen(site.get("/read/events", key=None, Accept=BROWSER)[2])
    sources = page.attributes("src") + page.attributes("href")
    assert all(source.startswith("/") for source in sources)
    for source in sources:
        # The one page among them is the door for those who have no script.
        assert source == "/read/" or site.get(source, key=None)[0] == 200
    names = {name for _, attrs in page.elements for name in attrs}
    assert not {name for name in names if name.startswith("on")} | names & {"style", "action", "formaction"}
    assert "style" not in {tag for tag, _ in page.elements}
    (script,) = [attrs for tag, attrs in page.elements if tag == "script"]
    assert script["src"] == "/ui/door.js"


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.5", "text/plain"])
@pytest.mark.parametrize("place", ["/v1/credits/balance", "/read/events", "/nothing"])
def test_a_program_gets_the_documented_refusal(site, place, accept):
    """Whoever does not ask for HTML by name is answered in JSON, as before."""
    asked = {} if accept is None else {"Accept": accept}
    status, headers, body = site.get(place, key=None, **asked)
    assert status == 401
    assert headers["content-type"] == "application/json"
    answer = json.loads(body)
    assert answer["code"] == "UNAUTHORIZED"
    assert answer["detail"] == "the key is missing or wrong: set SYNAP_API_KEY"
    assert {"error", "details"} <= set(answer)


def test_only_a_missing_key_is_answered_with_a_page(site):
    """Foreign names, origins and methods are refused as ever, whatever they accept; the key opens as ever."""
    for status, headers in (
        (421, {"Host": "evil.example"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
    ):
        found, answered, body = site.get("/read/events", key=None, Accept=BROWSER, **headers)
        assert found == status
        assert answered["content-type"] == "application/json", body
    status, answered, _ = site.call("POST", "/v1/conversations/messages", {}, key=None, Accept=BROWSER)
    assert (status, answered["content-type"]) == (401, "application/json")
    assert site.get("/read/events", Accept=BROWSER)[0] == 200
    assert site.get("/v1/credits/balance", Accept=BROWSER)[1]["content-type"] == "application/json"
    status, _, body = site.call("HEAD", "/read/events", key=None, Accept=BROWSER)
    assert (status, body) == (401, "")


def test_a_browser_without_scripts_is_asked_for_a_password_at_one_place(site):
    """At /read/ the browser asks, and again after a wrong password; elsewhere the page comes first, with the way."""
    assert site.get("/read/", key=None, Accept=BROWSER)[1]["www-authenticate"].startswith("Basic ")
    assert site.get("/read/events", key="wrong", basic=True, Accept=BROWSER)[1]["www-authenticate"].startswith("Basic ")
    _, headers, body = site.get("/read/events", key=None, Accept=BROWSER)
    assert headers["www-authenticate"] == "Bearer"
    assert "/read/" in seen(body).attributes("href")
    assert site.get("/read/events", basic=True, Accept=BROWSER)[0] == 200

"""Forgetting several memories at once, on platforms that can and on platforms that cannot."""

import httpx
import pytest

from synap_integrations import SynapClient
from synap_integrations.client.embedded import EmbeddedPlatform, LocalTransport
from synap_integrations.errors import AuthenticationError
from synap_integrations.settings import Settings

BULK = "/api/v1/memories/delete"


class Without(EmbeddedPlatform, httpx.AsyncBaseTransport):
    """The embedded Synap as a platform that answers some paths with a status, and notes what it is asked."""

    def __init__(self, settings, refused):
        super().__init__(settings, inline=True)
        self.refused = refused
        self.asked = []

    def http(self):
        """A client that meets the refusals first."""
        self._inner = LocalTransport(self._local(), inline=True)
        return httpx.AsyncClient(base_url="http://embedded", transport=self)

    async def handle_async_request(self, request):
        """Refuse, or pass on."""
        self.asked.append((request.method, request.url.path))
        for (method, prefix), status in self.refused.items():
            if request.method == method and request.url.path.startswith(prefix):
                return httpx.Response(status, json={"detail": "not here"})
        return await self._inner.handle_async_request(request)


async def three_turns(client):
    """The ids of three turns, two users'."""
    ids = []
    for user, text in (("ana", "one"), ("ana", "two"), ("mateo", "three")):
        ids.append((await client.conversation.record_message("chat", "user", text, user))["message_id"])
    return ids


async def left(client):
    """What is still said."""
    turns = [
        *await client.conversation.turns("chat", user_id="ana"),
        *await client.conversation.turns("chat", user_id="mateo"),
    ]
    return [turn.content for turn in turns]


@pytest.mark.parametrize(
    ("refused", "calls"),
    [({}, 1), ({("POST", BULK): 405}, 4), ({("POST", BULK): 404}, 4)],
    ids=["at-once", "one-by-one-405", "one-by-one-404"],
)
async def test_several_memories_are_forgotten_and_what_is_not_there_is_named(tmp_path, refused, calls) -> None:
    """In one call where the platform knows it, else in one for each; the outcome is the same."""
    settings = Settings.read(base_url="local", storage_path=tmp_path)
    platform = Without(settings, refused)
    async with SynapClient(settings=settings, platform=platform) as client:
        first, _, third = await three_turns(client)
        platform.asked.clear()
        done = await client.memories.delete_all([first, third, "never-was"])
        assert len(platform.asked) == calls
        assert sorted(done.deleted_ids) == sorted([first, third])
        assert done.failed_ids == ["never-was"]
        assert await left(client) == ["two"]


async def test_a_platform_that_forgets_no_single_turn_says_so_and_keeps_them(tmp_path) -> None:
    """As the cloud: nothing is raised, and nothing is claimed."""
    settings = Settings.read(base_url="local", storage_path=tmp_path)
    platform = Without(settings, {("POST", BULK): 405, ("DELETE", "/api/v1/memories/"): 404})
    async with SynapClient(settings=settings, platform=platform) as client:
        ids = await three_turns(client)
        done = await client.memories.delete_all(ids)
        assert (done.deleted_ids, done.failed_ids) == ([], ids)
        assert await left(client) == ["one", "two", "three"]


async def test_a_refused_key_is_an_error_and_not_a_reason_to_ask_one_by_one(tmp_path) -> None:
    """The first refusal ends it."""
    settings = Settings.read(base_url="local", storage_path=tmp_path)
    platform = Without(settings, {("POST", BULK): 401})
    async with SynapClient(settings=settings, platform=platform) as client:
        ids = await three_turns(client)
        platform.asked.clear()
        with pytest.raises(AuthenticationError):
            await client.memories.delete_all(ids)
        assert platform.asked == [("POST", BULK)]

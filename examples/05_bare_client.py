"""The platform's API without a framework: record turns, listen, send events, receive what is pushed, and ask.

Run:     python examples/05_bare_client.py
Prints:  what was recorded, the bundle that was pushed for a question, and what a fetch finds.
"""

import asyncio
import tempfile
from typing import Any

from synap_integrations import Settings, SynapClient


async def main() -> None:
    pushed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    with tempfile.TemporaryDirectory() as folder:
        # `SynapClient()` takes everything from the environment: with SYNAP_API_KEY set, this is the cloud.
        async with SynapClient(settings=Settings.read(base_url="local", storage_path=folder)) as client:
            for role, content in (("user", "I moved to Lisbon in May."), ("assistant", "How do you like Alfama?")):
                receipt = await client.conversation.record_message("c-1", role, content, user_id="ana")
                print(f"recorded  {role}: {content} ({receipt['conversation_id']})")

            await client.instance.listen(on_context=pushed.put)
            await client.instance.send_message("Which city did I move to?", conversation_id="c-2", user_id="ana")
            bundle = await asyncio.wait_for(pushed.get(), timeout=5)
            for items in bundle["items_by_type"].values():
                for item in items:
                    print(f"pushed    {item['content']!r}")

            found = await client.fetch(user_id="ana", search_query=["Lisbon"], response_shape="ranked")
            for item in found.items:
                print(f"found     {item['content']!r}")
            await client.instance.stop_listening()
            print(f"listening {client.instance.is_listening}")


if __name__ == "__main__":
    asyncio.run(main())

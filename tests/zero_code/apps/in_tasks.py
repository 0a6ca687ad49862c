"""asyncio: conversations in tasks of one loop, then a second loop."""

import asyncio

import chat


async def talk(number):
    """Two turns of one conversation."""
    await chat.aask(f"task-{number}", f"one {number}")
    await chat.aask(f"task-{number}", f"two {number}")


async def main():
    """Three of them at once."""
    await asyncio.gather(*(talk(number) for number in range(3)))


asyncio.run(main())
asyncio.run(talk(3))

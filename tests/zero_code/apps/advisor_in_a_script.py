"""The advisor for several users at once: ``threads|tasks NUMBER-OF-USERS WORDS…``; prints who was told what."""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import advisor
import advisor_users

way, number, *turns = sys.argv[1:]
users = [f"u-{at}" for at in range(int(number))]


def kind_of(name, lap):
    """Each turn of a user with another framework."""
    return advisor.KINDS[(users.index(name) + lap) % 3]


def talk(name, said, lap):
    """One turn in a thread of its own."""
    advisor_users.user.set(name)
    return name, advisor.advise(kind_of(name, lap), said)


async def atalk(name, said, lap):
    """One turn in a task of its own."""
    advisor_users.user.set(name)
    return name, await advisor.aadvise(kind_of(name, lap), said)


async def at_once(said, lap):
    """All users on one loop."""
    return await asyncio.gather(*(atalk(name, said, lap) for name in users))


advisor_users.user.set("warm-0")
for _ in range(500):
    if "welcome back" in advisor.advise("openai", "Good morning"):
        break
    time.sleep(0.1)
with ThreadPoolExecutor(len(users)) as pool, asyncio.Runner() as runner:
    for lap, said in enumerate(turns):
        if way == "threads":
            told = list(pool.map(talk, users, [said] * len(users), [lap] * len(users)))
        else:
            told = runner.run(at_once(said, lap))
        print(json.dumps(dict(told)))

"""Threads: a conversation each, at once."""

from concurrent.futures import ThreadPoolExecutor

import chat

with ThreadPoolExecutor(4) as pool:
    for turn in ("one", "two"):
        list(pool.map(lambda number, turn=turn: chat.ask(f"thread-{number}", f"{turn} {number}"), range(4)))

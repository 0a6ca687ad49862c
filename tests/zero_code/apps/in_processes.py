"""multiprocessing: a turn here, then one in each of two children; how they are made is the first argument."""

import multiprocessing
import sys

import chat


def talk(number):
    """One turn in a child."""
    return chat.ask(f"child-{number}", f"hello from {number}")


if __name__ == "__main__":
    chat.ask("parent", "before")
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(talk, range(2), chunksize=1))
        pool.close()
        pool.join()
    chat.ask("parent", "after")

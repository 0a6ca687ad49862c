"""A plain script: two turns, its arguments, its exit code."""

import sys

import chat

if __name__ == "__main__":
    chat.untouched()
    print(chat.ask("script", "one"))
    print(chat.ask("script", "two"))
    print(__name__, sys.argv[1:], __file__)
    sys.exit(7)

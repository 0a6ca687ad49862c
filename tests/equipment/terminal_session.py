r"""A command in a terminal, with somebody who types and looks at the screen.

with Terminal("tail", width=60) as terminal:
    terminal.until("I moved to Lisbon")
    terminal.type("\x03")                 # Ctrl-C
    assert terminal.code() == 130
"""

import os
import sys
import time
from typing import Self

import pexpect
import pyte

WAIT_S = 30.0


class Terminal:
    """`synap` with these words on a terminal of this size."""

    def __init__(self, *words: str, width: int = 100, height: int = 400, **environ: str) -> None:
        env = os.environ | {"TERM": "xterm-256color", "PYTHONUNBUFFERED": "1", "TZ": "UTC"} | environ
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            env.pop(name, None)
        self._screen = pyte.Screen(width, height)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        self._child = pexpect.spawn(
            sys.executable,
            ["-m", "synap_integrations.cli", *words],
            env=env | environ,
            dimensions=(height, width),
            encoding="utf-8",
            timeout=WAIT_S,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    def _read(self, timeout_s: float = 0.1) -> bool:
        """What has come so far; False at the end."""
        try:
            text = self._child.read_nonblocking(65536, timeout_s)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += text
        self._stream.feed(text)
        return True

    def until(self, words: str) -> None:
        """Wait until these words are on the screen."""
        deadline = time.monotonic() + WAIT_S
        while words not in self.text and time.monotonic() < deadline:
            if not self._read() and words not in self.text:
                break
        assert words in self.text, self.text

    def type(self, keys: str) -> None:
        """Press these keys."""
        self._child.send(keys)

    def code(self) -> int:
        """The exit code, once it has ended."""
        deadline = time.monotonic() + WAIT_S
        while self._read() and time.monotonic() < deadline:
            pass
        self._child.close()
        return self._child.exitstatus if self._child.exitstatus is not None else -self._child.signalstatus

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without what is empty at its end."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def colour_of(self, words: str) -> str:
        """The colour in which these words stand on the screen, ``default`` where they have none."""
        for number, line in enumerate(self._screen.display):
            if (place := line.find(words)) >= 0:
                return self._screen.buffer[number][place].fg
        raise AssertionError(f"{words!r} is not on the screen:\n{self.text}")

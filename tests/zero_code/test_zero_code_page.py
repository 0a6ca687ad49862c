"""The page about zero code: what it shows is what happens."""

import re
import subprocess
from pathlib import Path

from zero_code import environment, next_start

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "zero-code.md"


def steps() -> list[tuple[str, str]]:
    """(command, what it prints) of every console block, in order."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for step in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, printed = step.partition("\n")
            found.append((command, printed))
    return found


def as_pattern(printed: str) -> str:
    """What is printed, where ``…`` is any text, also of several lines."""
    return ".*".join(re.escape(part) for part in printed.split("…"))


def test_every_command_prints_what_the_page_shows(own_storage) -> None:
    """All commands of the page, in order, in a shell, with one storage: exactly this output, and nothing on stderr."""
    commands = steps()
    assert len(commands) >= 6
    for command, printed in commands:
        ran = subprocess.run(
            command,
            shell=True,
            cwd=ROOT,
            env=environment(own_storage, SYNAP_INJECT_TIMEOUT_MS="8000"),  # the machine may be busy
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ran.stderr == "", command
        assert re.fullmatch(as_pattern(printed), ran.stdout, re.DOTALL), (command, ran.stdout)
        with next_start(own_storage):  # what a loaded machine did not deliver within two seconds
            pass


def test_the_page_names_every_option_and_setting_of_zero_code() -> None:
    """Options of `synap run`, and the settings that are about it."""
    page = PAGE.read_text(encoding="utf-8")
    for name in ("--inject", "--follow-children", "--identify", "SYNAP_INJECT", "SYNAP_INJECT_MAX_TOKENS"):
        assert name in page
    assert "SYNAP_INJECT_TIMEOUT_MS" in page
    assert "20_unchanged_chat.py" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")

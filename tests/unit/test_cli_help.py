"""What `--help` says: every command shows how it is called, and lists what it has in full."""

from collections.abc import Iterator

import click
import pytest

from synap_integrations.cli import COMMANDS
from synap_integrations.cli.table import synap


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and its commands, by the words that call it."""
    with click.Context(synap) as context:
        for name in COMMANDS:
            command = synap.get_command(context, name)
            assert command is not None
            yield name, command
            for inner, one in getattr(command, "commands", {}).items():
                yield f"{name} {inner}", one


ALL = dict(commands())


@pytest.mark.parametrize("words", ALL)
def test_every_command_shows_how_it_is_called(words: str) -> None:
    """Under a heading, at least two examples, and each calls this command or one below it."""
    command = ALL[words]
    text = command.get_help(click.Context(command, info_name=f"synap {words}", max_content_width=100))
    shown = text.partition("Examples:\n")[2].partition("Exit code:")[0]
    examples = [line.strip() for line in shown.splitlines() if line.strip()]
    assert len(examples) >= 2
    name = words.partition(" ")[0]
    assert [line for line in examples if f"synap {name}" not in line and "synap status" not in line] == []


def test_the_options_in_an_example_are_the_commands_own() -> None:
    """An option of ours that is shown exists."""
    unknown = []
    for words, command in ALL.items():
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        if isinstance(command, click.Group) or words in {"run", "dev exec"}:
            continue
        for line in (command.epilog or "").splitlines():
            called = line.partition(f"synap {words}")[2].partition("|")[0].partition(">")[0]
            unknown += [f"{words}: {word}" for word in called.split() if word.startswith("-") and word not in known]
    assert unknown == []


@pytest.mark.parametrize("words", [words for words in ALL if " " in words])
def test_a_list_of_commands_is_not_cut_off(words: str) -> None:
    """What the list says of a command fits, as a whole."""
    said = ALL[words].get_short_help_str(limit=60)
    assert said.endswith(".")
    assert not said.endswith("...")
    assert len(said) < 60

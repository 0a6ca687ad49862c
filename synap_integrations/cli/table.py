"""The commands as click sees them: listed from a table, loaded when they are called."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import cast

import click
from click.shell_completion import CompletionItem

from synap_integrations.errors import InvalidInputError

from . import COMMANDS

_CLEAR = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _module_of(name: str) -> str:
    return f"{name}_" if iskeyword(name) else name.replace("-", "_")


class _Commands(click.Group):
    """Knows its commands by name and loads the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(f".{_module_of(cmd_name)}", __package__).command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete) and not incomplete.startswith("-")
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    "synap",
    cls=_Commands,
    context_settings=_CLEAR,
    no_args_is_help=False,
    epilog='Completion: eval "$(_SYNAP_COMPLETE=bash_source synap)", or zsh_source, fish_source.',
)
def synap() -> None:
    """Memory for agents: capture every turn, lose none, put context back."""


def call(arguments: Sequence[str]) -> int:
    """Run the command that these words call and return its exit code.

    Raises: InvalidInputError, if they call none, in one line that says where to read on. KeyboardInterrupt.
    """
    try:
        returned = synap.main(list(arguments), prog_name="synap", standalone_mode=False)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "synap"
        message = f"{error.format_message().rstrip('.')}; see `{path} --help`"
        raise InvalidInputError(message) from None
    except click.Abort:
        raise KeyboardInterrupt from None
    return returned if isinstance(returned, int) else 0

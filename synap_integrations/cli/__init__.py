"""`synap`: the command line. One file for each command; only the file of the command that is called is loaded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from synap_integrations.errors import SynapError

COMMANDS: Final = {
    "demo": "run the main job on real conversations, here and now, without an account",
    "status": "show what this machine holds: what waits for delivery, what the embedded Synap remembers",
    "settings": "show every setting, its value and where the value comes from",
}
"""Each command is the module of that name in this folder; it has ``add_arguments(parser)`` and ``run(options)``."""

_WRONG: Final = 2
_INTERRUPTED: Final = 130
_NOBODY_READS: Final = 141


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and where to read on."""

    def error(self, message: str) -> NoReturn:
        self.exit(_WRONG, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 if it did what it says, 2 with one line on stderr if it could not."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(prog="synap", description="Memory for agents: capture every turn, lose none, put context back.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=_Parser)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name in arguments:
            module = import_module(f".{name}", __name__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as over:
        return over.code if isinstance(over.code, int) else 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except SynapError as error:
        sys.stderr.write(f"synap {options.command}: {error}\n")
        return _WRONG
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`synap … | head`): leave nothing in the buffer for the interpreter to fail on at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    return code

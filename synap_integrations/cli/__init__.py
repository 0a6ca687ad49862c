"""`synap`: the command line. One file for each command; only the file of the command that is called is loaded."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # what `typing` says: its import takes longer than `synap run` may
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

COMMANDS: Final = {
    "run": "Start a program, captured with no change to it.",
    "dev": "Run a local Synap as a server: REST, stream and pages on this machine.",
    "ui": "Look inside the embedded Synap: what was said, what was pushed, what a model saw.",
    "tail": "Show what happens while it happens.",
    "show": "Show one conversation, as it was.",
    "outbox": "Look after what waits for delivery: list, flush, retry, export, drop.",
    "export": "Write everything that was said and done as JSON lines.",
    "import": "Record the conversations of a file: an export, LangChain's or OpenAI's messages.",
    "push": "Move what the embedded Synap holds to the cloud or to another server.",
    "forget": "Forget a user, a customer or a conversation, everywhere this machine reaches.",
    "demo": "Run the main job, end to end, here and now, without an account.",
    "doctor": "Look for what is wrong, and say what to type.",
    "status": "Show what this machine holds: what waits for delivery, what the embedded Synap remembers.",
    "prove-isolation": "Run your agent with many users at once and look for words that crossed.",
    "reassign": "Give turns that wait under one key to another key of the same account.",
    "settings": "Show every setting, its value and where the value comes from.",
}
"""Each command is the `click.Command` named ``command`` in the module of its name in this folder: with ``_`` for ``-``,
and behind a word that is Python's own."""

_WRONG: Final = 2
_INTERRUPTED: Final = 130
_NOBODY_READS: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: it did what it says; 1: the answer is no (the command's help says what that means); 2: it could not, and one
    line on stderr says why; 130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    if name == "run":
        # Another program waits for it: it is called before click, and before anything else it does not need.
        from .run import main as run  # noqa: PLC0415 - see above

        return run(arguments[1:])
    from synap_integrations.errors import SynapError  # noqa: PLC0415 - see above

    from .table import call  # noqa: PLC0415 - click takes longer to load than some programs to run

    try:
        code = call(arguments)
        sys.stdout.flush()
    except SynapError as error:
        sys.stderr.write(f"{f'synap {name}' if name else 'synap'}: {error}\n")
        return _WRONG
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`synap … | head`): leave nothing in the buffer for the interpreter to fail on at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    return code

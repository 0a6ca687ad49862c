"""`synap run`: start a program so that what it says with LangChain, LangGraph and LlamaIndex is captured.

The program takes the place of this process. All that it gets from us is a folder in front of its ``PYTHONPATH``; what
happens there stands in `synap_integrations.auto`. Nothing is loaded here that the program would have to wait for.
"""

from __future__ import annotations

import sys

from synap_integrations.auto import launch
from synap_integrations.auto.run_options import Terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

HELP = "Start a program, captured with no change to it: `synap run app.py`, `synap run -- uvicorn app:app`."
_WRONG = 2
_FLAGS = {
    "--inject": "Put context into the prompts of its models, too (or SYNAP_INJECT=1).",
    "--follow-children": "Capture the Python processes that it starts, too: reloaders, spawned workers.",
}
_IDENTIFY = "Who is talking, where the frameworks do not say: `headers` of HTTP requests, or `module:function`."
_EXAMPLES = """\b
Examples:
  synap run app.py --its-own options
  synap run -m package.module
  synap run -c "import app; app.main()"
  synap run --inject -- uvicorn app:app --port 8000
  synap run --follow-children -- uvicorn app:app --reload
  synap run --identify headers -- gunicorn --preload -w 4 app:app

\b
Exit code: the program's own; 2 if it could not be started."""


def main(arguments: Sequence[str]) -> int:
    """Become the program that these words name. Returns only if that cannot be done: 2, or 0 after ``--help``."""
    options, program = _parted(list(arguments))
    if "--help" in options or "-h" in options:
        return _help()
    terms = Terms()
    for option in options:
        name, _, value = option.partition("=")
        if option == "--inject":
            terms.inject = True
        elif option == "--follow-children":
            terms.follow = True
        elif name == "--identify" and launch.can_identify(value):
            terms.identify = value
        elif name == "--identify":
            return _refused(f"--identify takes `headers` or module:function, not {value!r}")
        else:
            return _refused(f"no such option: {option}")
    if not program:
        return _refused("name the program to start")
    try:
        launch.become(program, terms)
    except OSError as error:
        return _refused(f"{program[0]}: {error.strerror or error}")


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Our options, with their values after ``=``, and the program with its own."""
    options: list[str] = []
    while words and words[0].startswith("-") and words[0] not in launch.OF_PYTHON:
        word = words.pop(0)
        if word == "--":
            break
        if word == "--identify" and words:
            word = f"{word}={words.pop(0)}"
        options.append(word)
    return options, words


def _refused(why: str) -> int:
    sys.stderr.write(f"synap run: {why}; see `synap run --help`\n")
    return _WRONG


def _help() -> int:
    from .table import call  # noqa: PLC0415 - click takes longer to load than some programs to run

    return call(["run", "--help"])


def _command() -> click.Command:
    """The command as click sees it: for its help and for completion."""
    import click  # noqa: PLC0415 - see above

    parameters: list[click.Parameter] = [click.Option([name], is_flag=True, help=text) for name, text in _FLAGS.items()]
    parameters.append(click.Option(["--identify"], metavar="HOW", help=_IDENTIFY))
    parameters.append(
        click.Argument(["program"], nargs=-1, type=click.UNPROCESSED, metavar="[--] PROGRAM | -m MODULE | -c CODE …")
    )
    return click.Command("run", params=parameters, help=HELP, epilog=_EXAMPLES)


def __getattr__(name: str) -> object:
    if name == "command":
        return _command()
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

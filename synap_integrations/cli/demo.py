"""`synap demo`: the main job, end to end, here and now, without an account."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Settings

from .story.dialogue import Dialogue, read_dialogues

_EPILOG = """\b
Examples:
  synap demo
  synap demo --model openai:gpt-5
  synap demo --keep ./demo --json > findings.json"""


@click.command("demo", epilog=_EPILOG)
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Dialogues to play; else a small one.")
@click.option("--sessions", type=click.IntRange(1), metavar="N", help="At most so many conversations of each person.")
@click.option("--model", metavar="PROVIDER:NAME", help="A real model for the question that is shown.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="FOLDER", help="Keep the embedded Synap's file here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of pages.")
def command(data: Path | None, sessions: int | None, model: str | None, keep: Path | None, *, as_json: bool) -> None:
    """Run the main job, end to end, here and now, without an account.

    Leaves nothing behind without --keep.
    """
    real = Settings.read()
    if not Settings.capturing():
        message = "SYNAP_CAPTURE switches capture off, and without it there is nothing to show: unset it for the demo"
        raise InvalidInputError(message)
    dialogues = read_dialogues(data)
    played = _first(dialogues, sessions) if sessions else dialogues
    with _needed_packages():
        from .story.findings import Staging  # noqa: PLC0415 - what measures needs the client
        from .story.pages import print_findings, progress  # noqa: PLC0415 - rich may be missing
        from .story.play import play, sizes  # noqa: PLC0415 - LangChain or LlamaIndex may be missing
        from .story.real_model import RealModel  # noqa: PLC0415 - LangChain may be missing

    real_model = RealModel.named(model) if model else None
    with _folder(keep) as folder, progress(sizes(played)) as advance:
        findings = play(played, folder, model=real_model, advance=advance)
    staging = Staging(
        left_out=sum(len(dialogue.sessions) for dialogue in dialogues) - sum(len(part.sessions) for part in played),
        kept_in=str(keep) if keep else None,
        real_file=str(real.root / "local.db").replace(str(Path.home()), "~", 1),
    )
    if as_json:
        found = dataclasses.asdict(findings) | dataclasses.asdict(staging)
        sys.stdout.write(f"{json.dumps(found, indent=2, ensure_ascii=False)}\n")
    else:
        print_findings(findings, staging)


def _first(dialogues: list[Dialogue], sessions: int) -> list[Dialogue]:
    played = [dialogue.first(sessions) for dialogue in dialogues]
    for dialogue in played:
        if not dialogue.questions:
            message = (
                f"--sessions {sessions}: none of the questions about {dialogue.user_name} can be answered; take more"
            )
            raise InvalidInputError(message)
    return played


@contextmanager
def _needed_packages() -> Iterator[None]:
    """Say how to get what the demo needs and the package alone does not."""
    try:
        yield
    except ImportError as error:
        message = f"LangChain 1, LlamaIndex and rich are needed ({error}); run: pip install 'synap-integrations[demo]'"
        raise InvalidInputError(message) from None


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the embedded Synap keeps its file: a folder of this run, unless one was named."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="synap-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        occupied = any(keep.iterdir())
    except OSError as error:
        message = f"--keep {keep}: {error.strerror}; name a folder that can be made"
        raise InvalidInputError(message) from None
    if occupied:
        message = f"--keep {keep}: there is something in it already; name a new folder"
        raise InvalidInputError(message)
    yield keep

"""`synap demo`: the main job on real conversations, here and now, without an account."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Settings

from .story.dialogue import Dialogue, read_dialogues


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which conversations, which model, and what to do with the result."""
    parser.add_argument("--data", type=Path, metavar="FILE", help="dialogues to play; default: a small one of our own")
    parser.add_argument("--sessions", type=_count, metavar="N", help="at most so many conversations of each person")
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model for the question that is shown")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the embedded Synap's file in this folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of pages")


def run(options: argparse.Namespace) -> int:
    """Play, then print. Raises SynapError for what the user can put right; leaves nothing behind without --keep."""
    real = Settings.read()
    if not Settings.capturing():
        message = "SYNAP_CAPTURE switches capture off, and without it there is nothing to show: unset it for the demo"
        raise InvalidInputError(message)
    dialogues = read_dialogues(options.data)
    played = _first(dialogues, options.sessions) if options.sessions else dialogues
    with _needed_packages():
        from .story.findings import Staging  # noqa: PLC0415 - what measures needs the client
        from .story.pages import print_findings, progress  # noqa: PLC0415 - rich may be missing
        from .story.play import play, sizes  # noqa: PLC0415 - LangChain may be missing
        from .story.real_model import RealModel  # noqa: PLC0415 - LangChain may be missing

    model = RealModel.named(options.model) if options.model else None
    with _folder(options.keep) as folder, progress(sizes(played)) as advance:
        findings = play(played, folder, model=model, advance=advance)
    staging = Staging(
        left_out=sum(len(dialogue.sessions) for dialogue in dialogues) - sum(len(part.sessions) for part in played),
        kept_in=str(options.keep) if options.keep else None,
        real_file=str(real.root / "local.db").replace(str(Path.home()), "~", 1),
    )
    if options.json:
        found = dataclasses.asdict(findings) | dataclasses.asdict(staging)
        sys.stdout.write(f"{json.dumps(found, indent=2, ensure_ascii=False)}\n")
    else:
        print_findings(findings, staging)
    return 0


def _first(dialogues: list[Dialogue], sessions: int) -> list[Dialogue]:
    played = [dialogue.first(sessions) for dialogue in dialogues]
    for dialogue in played:
        if not dialogue.questions:
            message = (
                f"--sessions {sessions}: none of the questions about {dialogue.user_name} can be answered; take more"
            )
            raise InvalidInputError(message)
    return played


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


@contextmanager
def _needed_packages() -> Iterator[None]:
    """Say how to get what the demo needs and the package alone does not."""
    try:
        yield
    except ImportError as error:
        message = f"the demo needs LangChain 1 and rich ({error}); run: pip install 'synap-integrations[demo]'"
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

"""`make prove`: measure what is promised, and print one table. Ends with 1 if a promise is not kept."""

import json
import sys
import time
from pathlib import Path

import click

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1]), str(HERE.parent / "equipment"), str(HERE)]

from proof_lines import LINES  # noqa: E402 - found through the path above
from proof_report import HEADING, row  # noqa: E402 - see above
from proof_run import outcomes_of  # noqa: E402 - see above


@click.command()
@click.option("--short", is_flag=True, help="A minute instead of ten.")
@click.option("--only", "only", multiple=True, type=click.Choice(list(LINES)), help="This line; may be repeated.")
@click.option("--sabotage", metavar="NAME", help="Without this protection (tests/equipment/sabotage.py).")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 8), help="Lines at a time.")
@click.option("--json", "file", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Figures as JSON.")
def main(*, short: bool, only: tuple[str, ...], sabotage: str | None, jobs: int, file: Path | None) -> None:
    """Measure what is promised, and print one table."""
    began, outcomes = time.monotonic(), []
    click.echo(HEADING)
    for outcome in outcomes_of(list(only or LINES), short=short, jobs=jobs, without=sabotage):
        outcomes.append(outcome)
        click.echo(row(outcome))
    broken = sum(bool(outcome.broken) for outcome in outcomes)
    click.echo(f"\n{len(outcomes) - broken} of {len(outcomes)} kept, in {time.monotonic() - began:.0f} s")
    if file is not None:
        figures = [outcome.as_json() for outcome in outcomes]
        file.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()

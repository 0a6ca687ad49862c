"""What `synap demo` prints, for people to read: what one sees, and why it matters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .findings import Findings

if TYPE_CHECKING:
    from .play import Advance

_STYLES = {"user": "cyan", "assistant": "green", "tool call": "magenta", "tool result": "magenta"}
_BLOCK = "bold yellow"


@contextmanager
def progress(sizes: dict[str, int]) -> Iterator[Advance]:
    """A bar for each stage, on stderr, while there is a terminal to show it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        tasks = {stage: bars.add_task(stage, total=size) for stage, size in sizes.items()}
        yield lambda stage, done: bars.advance(tasks[stage], done)


def print_findings(findings: Findings) -> None:
    """All pages, in the order of the main job: captured, pushed, injected, then how good, how safe, how complete."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(_people(findings))
    for number, page in enumerate((_captured, _pushed, _injected, _recall, _isolation, _accounting), 1):
        title, why, body = page(findings)
        console.print()
        console.print(f"[bold]{number}  {title}[/bold]", highlight=False)
        console.print(Padding(Text(why, style="dim"), (0, 0, 1, 3)))
        console.print(Padding(body, (0, 0, 0, 3)), highlight=False)
    console.print()


def _people(findings: Findings) -> Text:
    """Who speaks, and how much."""
    text = Text("\nThe main job on real conversations\n", style="bold")
    for person in findings.people:
        text.append(
            f"{person.user_name}: {person.turns} turns in {person.conversations} conversations, "
            f"{person.questions} questions about them\n",
            style="not bold",
        )
    if findings.left_out:
        text.append(f"{findings.left_out} conversations of the file were left out (--sessions)\n", style="not bold")
    text.append(
        "Each turn went through a LangChain agent with tools and a model that follows the script: callback, outbox, "
        "delivery, embedded Synap, and back into the prompt.",
        style="dim not bold",
    )
    return text


Page = tuple[str, str, RenderableType]


def _captured(findings: Findings) -> Page:
    """The transcript of one conversation."""
    rows = _grid()
    for line in findings.transcript.lines:
        rows.add_row(Text(line.kind, style=_STYLES.get(line.kind, "")), _one_line(line.text))
    return (
        f"Captured: the conversation {findings.transcript.conversation_id}",
        "Read back from the embedded Synap: each turn once, word for word, and the tool calls with their results.",
        rows,
    )


def _pushed(findings: Findings) -> Page:
    """The bundle for the question."""
    asked = findings.asked
    rows = _grid()
    rows.add_row("score", Text("said on", style="dim"), Text("what", style="dim"))
    for item in asked.items:
        rows.add_row(f"{item.score:.2f}", item.said_on or "", _one_line(item.text, lines=3))
    return (
        f"Pushed: {asked.user_name} asks “{asked.question}”",
        f"In a new conversation. Before the model is called, Synap has pushed what may help ({asked.why}).",
        rows,
    )


def _injected(findings: Findings) -> Page:
    """The exact prompt."""
    body = Text()
    for line in findings.asked.prompt:
        gutter, style = ("▌ ", _BLOCK) if line.injected else ("  ", "")
        body.append(f"{line.role:<10}", style="dim")
        body.append(f"{gutter}{line.text}\n", style=style)
    body.append(f"{'assistant':<10}", style="dim")
    body.append(f"  {findings.asked.answer}", style="green")
    return (
        "Injected: the prompt exactly as the model received it",
        "The marked lines are there for this call only, not in the history; stored text cannot leave them.",
        body,
    )


def _recall(findings: Findings) -> Page:
    """Figures of retrieval."""
    recall, prompts = findings.recall, findings.prompts
    rows = _grid()
    rows.add_row(
        "recall@10",
        f"{recall.at_10:.1%}",
        f"of the evidence is among the first 10 results, {recall.at_25:.1%} among 25",
    )
    rows.add_row(
        "in the prompt",
        f"{prompts.evidence:.1%}",
        f"of it reaches the model; some of it for {prompts.any_evidence} of {prompts.questions} questions",
    )
    rows.add_row(
        "time",
        f"{recall.p50_ms:.1f} ms",
        f"for one search in the middle, {recall.p99_ms:.1f} ms at the 99th percentile",
    )
    return (
        f"Recall: {recall.questions} questions whose evidence is known",
        "Everybody's turns are in one database; each person's questions are asked about that person's conversations.",
        rows,
    )


def _isolation(findings: Findings) -> Page:
    """Whose turns reached whom."""
    prompts = findings.prompts
    first, second = (person.user_name for person in findings.people[:2])
    rows = _grid()
    rows.add_row("prompts checked", f"{prompts.checked}")
    rows.add_row("turns of one's own in them", f"{prompts.own_turns}")
    rows.add_row(
        "turns of somebody else",
        Text(f"{prompts.foreign_turns}", style="bold red" if prompts.foreign_turns else "bold green"),
    )
    return (
        f"Isolation: {first} is asked {second}'s questions, and the other way round",
        "No word of one person's memory may reach the other person's prompt.",
        rows,
    )


def _accounting(findings: Findings) -> Page:
    """What became of what was captured, and what to do next."""
    kept = findings.accounting
    text = Text()
    text.append(
        f"captured {kept.captured} = delivered {kept.delivered} + waiting {kept.waiting} + refused {kept.refused}"
    )
    text.append(f" + dead letters {kept.dead_letters}\n")
    text.append(
        f"In {findings.seconds:.1f} s, with nothing sent anywhere. In real use the file is {findings.real_file}.\n\n"
    )
    text.append("What to do next\n", style="bold")
    text.append('  capture   chain.invoke(…, config={"callbacks": [SynapCallbackHandler()]})\n')
    text.append("  cloud     export SYNAP_API_KEY=…     and nothing else changes\n")
    text.append("  off       export SYNAP_CAPTURE=0     or remove the line you added")
    return "Accounting: nothing is lost silently", "Every turn and tool event that was captured is somewhere.", text


def _grid() -> Table:
    return Table.grid(padding=(0, 2))


def _one_line(text: str, *, lines: int = 1) -> Text:
    """The text, cut to about so many lines."""
    room = 62 * lines
    flat = " ".join(text.split())
    return Text(flat if len(flat) <= room else f"{flat[: room - 1]}…", overflow="fold")

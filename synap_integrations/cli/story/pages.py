"""What `synap demo` prints, for people to read: what one sees, and why it matters."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .findings import Accounting, Findings, PromptLine, Staging, Transcript

if TYPE_CHECKING:
    from .play import Advance

_WIDTH: Final = 80
_INDENT: Final = 3
_ITEM_WIDTH: Final = 56
_CUT_AFTER: Final = 4
"""Lines of a message that are shown where it is cut."""
_STYLES: Final = {"user": "cyan", "assistant": "green", "tool call": "magenta", "tool result": "magenta"}
_BLOCK: Final = "yellow"
_QUIET: Final = "dim"


@dataclass(frozen=True, slots=True)
class Page:
    """A heading, a sentence on why it matters, and what there is to see."""

    title: str
    why: str
    body: RenderableType


@contextmanager
def progress(sizes: dict[str, int]) -> Iterator[Advance]:
    """A bar for each stage, on stderr, while there is a terminal to show it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        tasks = {stage: bars.add_task(stage, total=size) for stage, size in sizes.items()}
        yield lambda stage, done: bars.advance(tasks[stage], done)


def print_findings(findings: Findings, staging: Staging) -> None:
    """All pages, in the order of the main job: captured, pushed, injected; then how good, how safe, how complete."""
    console = Console(highlight=False)
    console.width = min(console.width, _WIDTH) if console.is_terminal else _WIDTH
    with console.capture() as printed:
        console.print(_introduction(findings, staging))
        makers = (_captured, _pushed, _injected, _recall, _isolation, _in_llamaindex)
        pages = [*(make(findings) for make in makers), _accounting(findings, staging)]
        for number, page in enumerate(pages, 1):
            console.print(Text(f"\n{number}  {page.title}", style="bold"))
            console.print(Padding(Text(page.why, style=_QUIET), (0, 0, 1, _INDENT)))
            console.print(Padding(page.body, (0, 0, 0, _INDENT)))
    # Without the spaces that fill each line, so that the pages can be piped and quoted.
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def _introduction(findings: Findings, staging: Staging) -> Text:
    text = Text("The main job, end to end\n\n", style="bold")
    for person in findings.people:
        text.append(
            f"{person.user_name}: {person.turns} turns in {person.conversations} conversations, "
            f"{person.questions} questions about them\n",
            style="not bold",
        )
    if staging.left_out:
        text.append(f"Left out (--sessions): {staging.left_out} conversations\n", style="not bold")
    text.append(
        "Each turn went through a LangChain agent with tools and a model that follows the script: "
        "callback, outbox, delivery, embedded Synap, and back into the prompt. Then LlamaIndex asks.",
        style="dim not bold",
    )
    return text


def _captured(findings: Findings) -> Page:
    return Page(
        f"Captured: the conversation {findings.transcript.conversation_id}",
        "Read back from the embedded Synap's file: each turn once, tool calls and results where they happened. "
        "Cut to one line each here, kept word for word there.",
        _transcript(findings.transcript),
    )


def _transcript(transcript: Transcript) -> Table:
    rows = _columns()
    for line in transcript.lines:
        rows.add_row(Text(line.kind, style=_STYLES.get(line.kind, "")), _cut(line.text, _WIDTH - _INDENT - 13))
    return rows


def _pushed(findings: Findings) -> Page:
    asked = findings.asked
    rows = _columns()
    rows.add_row(*(Text(heading, style=_QUIET) for heading in ("score", "said on", "a turn, and the turns around it")))
    for item in asked.items:
        score, said_on = f"{item.score:.2f}", item.said_on or ""
        for line in item.text.splitlines():
            answers = any(answer in line for answer in item.evidence)
            shown = Text(f"▶ {_printable(line)}", style="bold green") if answers else _cut(line, _ITEM_WIDTH)
            rows.add_row(score, said_on, shown)
            score = said_on = ""
    return Page(
        "Pushed: what may help, before the model is called",
        f"Another day, another process: {asked.user_name} asks “{asked.question}” ({asked.why}). ▶ holds the answer.",
        rows,
    )


def _injected(findings: Findings) -> Page:
    return Page(
        "Injected: the prompt exactly as the model received it",
        "The lines marked ▌ are there for this call only and in no history; ▶ holds the answer. Stored text cannot "
        "leave them.",
        Text("\n").join(_prompt(findings.asked.prompt, findings.asked.answer)),
    )


def _prompt(prompt: Iterable[PromptLine], answer: str) -> Iterator[Text]:
    before = ""
    for line in prompt:
        role = line.role if line.role != before else ""
        before = line.role
        more = "    " if line.injected else ""
        for piece in textwrap.wrap(_printable(line.text), _WIDTH - _INDENT - 13, subsequent_indent=more) or [""]:
            text = Text(f"{role:<10}", style=_QUIET)
            mark, style = _marked(line)
            text.append(f"{mark} {piece}", style=style)
            yield text
            role = ""
    role = "assistant"
    for piece in textwrap.wrap(_printable(answer), _WIDTH - _INDENT - 13):
        yield Text(f"{role:<10}", style=_QUIET).append(f"  {piece}", style="green not dim")
        role = ""


def _marked(line: PromptLine) -> tuple[str, str]:
    if line.evidence:
        return "▶", "bold green"
    return ("▌", _BLOCK) if line.injected else (" ", "not dim")


def _recall(findings: Findings) -> Page:
    recall = findings.recall
    rows = _columns()
    rows.add_row("recall@10", f"{recall.at_10:.1%}", "of the evidence is among the first 10 results of a search")
    rows.add_row(
        "recall@25", f"{recall.at_25:.1%}", f"among the first 25; {_times(recall.search_p50_ms, recall.search_p99_ms)}"
    )
    rows.add_row(
        "pushed",
        f"{recall.pushed:.1%}",
        f"in the bundle of 5 windows; {_times(recall.push_p50_ms, recall.push_p99_ms)}",
    )
    rows.add_row("", f"{recall.pushed_any}", f"of {recall.questions} questions have evidence in their bundle")
    return Page(
        f"Recall: {recall.questions} questions whose evidence is known",
        "Everybody's turns are in one database. No embeddings, no model, no network: full-text search and neighbours.",
        rows,
    )


def _times(p50_ms: float, p99_ms: float) -> str:
    return f"p50 {p50_ms:.1f}, p99 {p99_ms:.1f} ms"


def _isolation(findings: Findings) -> Page:
    prompts = findings.prompts
    first, second = (person.user_name for person in findings.people[:2])
    rows = _columns()
    rows.add_row(f"{prompts.checked}", "prompts checked")
    rows.add_row(f"{prompts.own_turns}", "turns of the user's own conversations in them")
    style = "bold red" if prompts.foreign_turns else "bold green"
    rows.add_row(Text(f"{prompts.foreign_turns}", style=style), "turns of the other user's conversations in them")
    return Page(
        f"Isolation: {first} and {second} are asked their own and each other's questions",
        "What one person said must never reach the other person's prompt, however well it would answer.",
        rows,
    )


def _in_llamaindex(findings: Findings) -> Page:
    found = findings.in_llamaindex
    prompts = found.prompts
    text = Text("A chat engine that answers from documents, its prompt as the model received it, cut here:\n\n")
    text.append(Text("\n").join(_prompt(_cuttings(found.asked.prompt), found.asked.answer)))
    text.append("\n\nAn agent with a tool, read back from the embedded Synap's file:\n")
    after = Text(
        f"\n{_sum(found.accounting)}\n"
        f"{prompts.checked} prompts: {prompts.own_turns} turns of {found.asked.user_name}'s own conversations in them, "
        f"{prompts.foreign_turns} of another user's"
    )
    return Page(
        f"The same user in LlamaIndex: what {found.asked.user_name} told LangChain is known",
        f"CondensePlusContextChatEngine over {found.documents}; and FunctionAgent; both with "
        f'SynapMemory(user_id="{findings.people[0].user_id}"). ▌ is what Synap knew, ▶ holds the answer.',
        Group(text, _transcript(found.transcript), after),
    )


def _cuttings(prompt: Sequence[PromptLine]) -> Iterator[PromptLine]:
    """The first lines of each part; of a context block also its end and what holds the answer. No empty lines."""
    for (_, injected), lines in groupby(prompt, key=lambda line: (line.role, line.injected)):
        part, gap = [line for line in lines if line.text.strip()], False
        for at, line in enumerate(part):
            if line.evidence or at < _CUT_AFTER or (injected and at == len(part) - 1):
                gap = False
                yield line
            elif not gap:
                gap = True
                yield dataclasses.replace(line, text="[…]")


def _accounting(findings: Findings, staging: Staging) -> Page:
    place = f"kept in {staging.kept_in}" if staging.kept_in else "nothing is left behind"
    text = Text(
        f"{_sum(findings.accounting)}\n"
        f"{findings.seconds:.1f} s in all; nothing was sent anywhere, {place}.\n"
        f"In real use the file is {staging.real_file}.\n\n"
    )
    text.append("Next\n", style="bold")
    text.append('  capture  chain.invoke(…, config={"callbacks": [SynapCallbackHandler()],\n')
    text.append('               "metadata": {"user_id": "ana", "thread_id": "t-1"}})\n')
    text.append("  cloud    export SYNAP_API_KEY=…   and nothing else changes\n")
    text.append("  off      export SYNAP_CAPTURE=0   or remove the line you added")
    return Page(
        "Accounting: nothing is lost silently",
        "Turns, tool calls, tool results, and which context was shown: whatever was captured is somewhere.",
        text,
    )


def _sum(kept: Accounting) -> str:
    return (
        f"captured {kept.captured} = delivered {kept.delivered} + waiting {kept.waiting} "
        f"+ refused {kept.refused} + dead letters {kept.dead_letters}\n"
        f"said {kept.turns_said} turns, stored {kept.turns_stored}"
    )


def _columns() -> Table:
    return Table.grid(padding=(0, 2))


def _cut(text: str, room: int) -> Text:
    """The text in at most so many characters."""
    return Text(textwrap.shorten(_printable(text), room, placeholder=" …"))


def _printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)

"""What the commands say of themselves: options on the page, examples in the help, text that is safe to show."""

import re
from importlib import import_module
from keyword import iskeyword
from pathlib import Path

import click
import pytest

from synap_integrations.cli.terminal import Cell, Paper, at_home, in_short, print_json, shown

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HERE = ("doctor", "tail", "show", "outbox", "export", "import", "forget")


def command(name: str) -> click.Command:
    """The command of this name."""
    return import_module(f"synap_integrations.cli.{name}{'_' if iskeyword(name) else ''}").command


def options(of: click.Command) -> set[str]:
    """The options of a command and of those below it, by their longest name."""
    own = {max(option.opts, key=len) for option in of.params if isinstance(option, click.Option)}
    return own.union(*(options(sub) for sub in getattr(of, "commands", {}).values()))


@pytest.mark.parametrize("name", HERE)
def test_the_page_names_every_option_and_no_other(name: str) -> None:
    """Whoever reads docs/commands.md knows what there is."""
    part = "\n".join(line for line in PAGE.read_text("utf-8").split("\n\n") if f"`synap {name}" in line)
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", part)) - {"--help", "--identify"}
    missing = {option for option in options(command(name)) if option not in part and option != "--follow"}
    assert missing == set()
    if name != "outbox":
        assert named <= options(command(name)) | {"--no-follow", "--identify", "-n"}


@pytest.mark.parametrize("name", HERE)
def test_help_has_examples_and_says_what_one_means(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each `--help` ends with commands to copy; where 1 is possible, it says what that is."""
    assert command(name).main(["--help"], prog_name=f"synap {name}", standalone_mode=False) == 0
    text = capsys.readouterr().out
    assert f"synap {name}" in text.rpartition("\n\n")[2]
    returns_one = command(name).callback.__annotations__.get("return") == "int"
    assert not returns_one or "Exit code 1" in text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("plain\nand more", "plain\nand more"),
        ("\x1b[31mred", "␛[31mred"),
        ("bell\x07 del\x7f c1\x9b", "bell␇ del␡ c1\ufffd"),
        ("a\u202eb\u2066c\u200d", "a\ufffdb\ufffdc\u200d"),
        ("tab\tend\r\nline\rback", "tab end\nline␍back"),
        ("日本語 🎉 é", "日本語 🎉 é"),
    ],
    ids=["plain", "escape", "controls", "directions", "white space", "letters"],
)
def test_text_of_others_is_shown_without_what_a_terminal_obeys(said: str, expected: str) -> None:
    """Letters stay, lines stay, commands to the terminal become pictures."""
    assert shown(said) == expected


def test_json_stays_json_and_is_safe_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    """Letters are letters, control characters are escaped, and it reads back as the same."""
    print_json([{"text": "é 日本 \x9b \u202e \x7f 🎉"}], lines=True)
    out = capsys.readouterr().out
    assert "é 日本 \\u009b \\u202e \\u007f 🎉" in out


def test_plain_lines_have_columns_and_no_spaces_at_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Cells keep their columns, a text of several lines continues below itself."""
    paper = Paper((5, 3))
    paper.line("a", Cell("b", "good"), "one\ntwo")
    paper.line("longer than its column", "", "")
    paper.title("Heading")
    assert capsys.readouterr().out == "a      b    one\n            two\nlonger than its column\n\nHeading\n"


def test_long_texts_are_cut_on_one_line() -> None:
    """At most that many characters, with a sign that there is more."""
    assert in_short("a\n b   c") == "a b c"
    assert in_short("x" * 100, 10) == "x" * 9 + "…"
    assert at_home(Path.home() / "file") == "~/file"

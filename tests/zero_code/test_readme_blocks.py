"""The README's own commands and Python, taken from it letter by letter and run as a reader would."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from provider_stand_in import provider
from zero_code import APPS, answers, delivered, environment, free_port, get, parroted, until, users

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NO_LINE = README.partition("## No line")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"(?m)^\$ (synap run .+)$", NO_LINE)
BLOCKS = re.findall(r"(?s)```python\n(.*?)```", README)
HEADERS = {"X-User-Id": "ben", "X-Conversation-Id": "web"}


def program(folder: Path, *, of: str) -> None:
    """An ``app.py`` of the reader's, in this folder."""
    for name, source in (("chat.py", "chat.py"), ("app.py", of)):
        (folder / name).write_text((APPS / source).read_text(encoding="utf-8"), encoding="utf-8")


def written(command: str) -> list[str]:
    """The command, and the one that its comment names instead."""
    said, _, comment = command.partition("#")
    other = comment.partition("or: ")[2]
    return [one.strip() for one in (said, other) if one.strip()]


def test_the_section_shows_what_is_tested_here() -> None:
    """A script, context in its prompts, and both kinds of server."""
    assert [one for command in COMMANDS for one in written(command)] == [
        "synap run app.py",
        "synap run -- uvicorn app:app",
        "synap run --inject app.py",
        "synap run --identify headers -- gunicorn app:app",
    ]


@pytest.mark.parametrize("command", [one for command in COMMANDS for one in written(command)])
def test_a_command_of_the_section(command: str, own_storage, tmp_path) -> None:
    """It runs as printed, captures what was said, and a server takes the user from headers where that was asked for."""
    port = free_port()
    serves = "app:app" in command
    program(tmp_path, of=("in_asgi.py" if "uvicorn" in command else "in_wsgi.py") if serves else "in_a_script.py")
    bind = {"UVICORN_PORT": str(port), "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:{port}"}
    words = ["sh", "-c", f"exec {command}"]
    env = environment(own_storage, **bind)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            if serves:
                until(lambda: process.poll() is not None or answers(port), what="an answer")
                named = {} if "--identify" in command else {"conversation": "web"}
                assert get(port, headers=HEADERS, said="hello", **named) == "You said: hello"
                process.terminate()
            ended = process.wait(60)
        finally:
            process.kill()
    assert "synap:" not in (tmp_path / "log").read_text()
    if serves:
        assert delivered(own_storage) == {"web": parroted("hello")}
        assert users(own_storage) == {"web": "ben" if "--identify" in command else "ana"}
    else:
        assert ended == 7  # the script's own
        assert delivered(own_storage) == {"script": parroted("one", "two")}


CHAIN = """
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | FakeListChatModel(responses=["Yes."])
"""
INDEX = """
from llama_index.core import Document, Settings, SummaryIndex
from llama_index.core.llms import MockLLM
Settings.llm = MockLLM()
index = SummaryIndex.from_documents([Document(text="A page.")])
"""
READERS: dict[str, tuple[str, str]] = {
    "chain.invoke(": (CHAIN, ""),
    "agent = create_agent(": ("from langchain.agents import create_agent\ntools = []", ""),
    "model = with_synap_memory(": ("from langchain_openai import ChatOpenAI", ""),
    "SynapCallbackHandler()  # captures": (INDEX, "engine.chat('Hello')"),
    "with synap_integrations.context(": ("import synap_integrations", ""),
    "async with SynapClient(": ("", ""),
}
"""A phrase of a block → what a reader has before it, and does after it."""
SAYS_SOMETHING = (
    "chain.invoke(",
    "agent = create_agent(",
    "model = with_synap_memory(",
    "SynapCallbackHandler()  # captures",
    "async with SynapClient(",
)
TEST = """
import asyncio
from langchain_core.language_models import FakeListChatModel
from synap_integrations.langchain import SynapCallbackHandler

def answer(said):
    config = {"callbacks": [SynapCallbackHandler()], "metadata": {"thread_id": "trip", "user_id": "ana"}}
    return FakeListChatModel(responses=["At 17:40."]).invoke(said, config).content

"""


def block(phrase: str) -> str:
    """The block of the README that has this phrase."""
    (found,) = [code for code in BLOCKS if phrase in code]
    return found


def test_every_python_block_is_run_here() -> None:
    """One that is added needs a reader, too."""
    known = [*READERS, "def test_the_conversation_is_kept"]
    assert [code for code in BLOCKS if not any(phrase in code for phrase in known)] == []


@pytest.mark.timeout(400)
@pytest.mark.parametrize("phrase", READERS)
def test_a_python_block(phrase: str, own_storage, tmp_path) -> None:
    """It does what it shows, with a real client of the provider where it names one, and with no warning."""
    before, after = READERS[phrase]
    code = block(phrase)
    if "await " in code:
        imports, _, rest = code.partition("\n\n")
        main = f"async def main():\n{textwrap.indent(rest, '    ')}    return found\n"
        code = f"import asyncio\n{imports}\n{main}\nassert 'Lisbon' in str(asyncio.run(main()))\n"
    (tmp_path / "block.py").write_text(f"{before}\n{code}\n{after}\n", encoding="utf-8")
    with provider() as seen:
        more = {"OPENAI_BASE_URL": f"http://127.0.0.1:{seen.port}/v1", "OPENAI_API_KEY": "sk-none"}
        ran = subprocess.run(
            [sys.executable, "block.py"],
            cwd=tmp_path,
            env=environment(own_storage, **more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert seen.refused == []
    if phrase in SAYS_SOMETHING:
        assert any(turns[0][0] == "user" for turns in delivered(own_storage).values())


def test_the_block_for_an_applications_own_tests(own_storage, tmp_path) -> None:
    """With the plugin that the package brings, and nothing else."""
    code = TEST + block("def test_the_conversation_is_kept")
    (tmp_path / "test_block.py").write_text(code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env=environment(own_storage),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr

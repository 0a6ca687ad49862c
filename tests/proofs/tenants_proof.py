"""Tenants with users of the same names at one server, each with a canary: who gets to see it, and where?"""

import http.client
import json
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from dev_server import Reached, server_in_process
from langchain_core.messages import HumanMessage
from langchain_models import WholeModel
from programs import python

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

ODD = (
    None,
    "a",
    "A",
    "aa",
    "a a",
    "_any",
    "%",
    "a%",
    "1",
    "á",
    "a\u0301",
    "a|b",
    "a:b",
    "'",
    '"',
    "user-1",
    "None",
    "*",
)
"""Names of tenants that a comparison may take for another one, or for all; None is nobody's tenant."""
QUESTION = "What is the code of my locker?"
PATIENT = {"capture_wait_s": 30, "recall_timeout_s": 30, "request_timeout_s": 60}


@dataclass(frozen=True)
class Figures:
    """``withheld``: prompts, pages and exports without what their own users had said. ``crossed``: canaries of somebody
    else in a prompt, on a page of the inspector about one user, or in an export of one tenant. ``logged``: in any log.
    """

    users: int
    prompts: int
    pages: int
    exports: int
    withheld: int
    crossed: int
    logged: int


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.canaries = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.canaries += len(canaries(f"{record.getMessage()} {record.args!r}"))


def canaries(text: str) -> set[str]:
    """Those in a text."""
    return set(re.findall(r"canary\d+t\d+u", text))


def measure(folder: Path, *, tenants: int, users: int) -> Figures:
    """Everybody says a canary in one conversation, and asks for it in another."""
    everybody = [(tenant, f"user-{number}") for tenant in _names(tenants) for number in range(users)]
    own = {who: f"canary{at // users}t{at % users}u" for at, who in enumerate(everybody)}
    log, file = _Log(), folder / "synap.db"
    logging.getLogger().addHandler(log)
    logging.getLogger().setLevel(logging.DEBUG)
    with ExitStack() as stack:
        server = stack.enter_context(server_in_process(file))
        synap = stack.enter_context(Synap(**server.address, storage_path=folder / "synap", **PATIENT))
        prompts = dict(_asked(synap, own))
        pages = list(_seen(server, len(own)))
    logging.getLogger().removeHandler(log)
    exports = {tenant: _exported(file, tenant) for tenant, _ in everybody if tenant is not None}
    withheld = sum(own[who] not in found for who, found in prompts.items())
    withheld += len(set(own.values()).difference(*pages))
    crossed = sum(len(found - {own[who]}) for who, found in prompts.items())
    crossed += sum(max(0, len(found) - 1) for found in pages)
    for tenant, found in exports.items():
        theirs = {canary for (whose, _), canary in own.items() if whose == tenant}
        crossed += len(found - theirs)
        withheld += len(theirs - found)
    return Figures(len(own), len(prompts), len(pages), len(exports), withheld, crossed, log.canaries)


def _names(tenants: int) -> list[str | None]:
    return [*ODD, *(f"tenant-{number}" for number in range(tenants))][:tenants]


def _asked(synap: Synap, own: dict) -> Iterator[tuple[tuple, set[str]]]:
    """Who asked, and the canaries in their prompts."""
    model = WholeModel()
    chain = with_synap_memory(model, synap).with_config(callbacks=[SynapCallbackHandler(synap)])

    def say(text: str, who: tuple, conversation: str) -> None:
        tenant, user = who
        metadata = {"user_id": user, "conversation_id": conversation} | ({"customer_id": tenant} if tenant else {})
        chain.invoke([HumanMessage(text)], {"metadata": metadata})

    for who, canary in own.items():
        say(f"The code of my locker is {canary}.", who, "first")
    synap.flush(600)
    model.seen.clear()
    for who in own:
        say(QUESTION, who, "second")
        yield who, canaries(str(model.seen.pop()))
    synap.flush(600)


def _seen(server: Reached, users: int) -> Iterator[set[str]]:
    """The canaries on the page of every user, which shows what is remembered and what a prompt would hold."""
    for number in range(1, users + 1):
        yield canaries(_page(server, f"/read/users/{number}?q={quote_plus(QUESTION)}"))


def _page(server: Reached, path: str) -> str:
    line = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    try:
        line.request("GET", path, headers={"Authorization": f"Bearer {server.key}"})
        answer = line.getresponse()
        assert answer.status == 200, (path, answer.status)
        return answer.read().decode()
    finally:
        line.close()


def _exported(file: Path, tenant: str) -> set[str]:
    done = python("-m", "synap_integrations.cli", "export", "--db", str(file), "--customer", tenant)
    assert done.returncode == 0, done.stderr
    customers = {json.loads(entry).get("customer_id") for entry in done.stdout.splitlines()}
    assert customers == {tenant}, customers
    return canaries(done.stdout)

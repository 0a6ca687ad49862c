"""The REST surface without a framework: method, path, query, headers, body in; status, headers, body out.

Success is always 200: a client of the platform takes any other status, 201 included, for a failure and sends the write
again. What is not here is 404 with the platform's error envelope.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from synap_integrations.errors import ConflictError, ContextNotFoundError, InvalidInputError
from synap_integrations.server.compaction import Compaction
from synap_integrations.server.engine import KINDS, Engine
from synap_integrations.server.records import Found, Owner, Recorded, Stated
from synap_integrations.server.turns_wire import owner_of

from . import answers
from .bodies import Request, Wanted, new_turn, query_of, scope_of, wanted
from .conversations import CompactionsApi, TranscriptsApi
from .data import DataApi
from .memories import MemoriesApi
from .uploads import UPLOAD

Json = dict[str, object]
Answer = tuple[int, dict[str, str], bytes]

_PAGE: Final = 500
_RECENT: Final = 200
"""Most turns that go into a prompt; longer conversations are read page by page."""
_HEADERS: Final = {"content-type": "application/json", "x-synap-platform": "local"}


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: re.Pattern[str]
    handle: Callable[[Request], Json]


class RestApi:
    """Answers REST requests. Thread-safe; ``on_turn`` hears of every turn that was stored, once.

    ``on_compaction`` hears of every conversation that was cut short, and whose it is.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_turn: Callable[[Recorded], None],
        on_compaction: Callable[[Owner, Compaction], None],
    ) -> None:
        self._engine = engine
        self._on_turn = on_turn
        memories, data = MemoriesApi(engine), DataApi(engine)
        transcripts, self._compactions = TranscriptsApi(engine), CompactionsApi(engine, on_compaction)
        # Clients put ids into paths as they are, so that an id may hold slashes.
        table: tuple[tuple[str, str, Callable[[Request], Json]], ...] = (
            ("POST", "/v1/conversations/messages", self._record),
            ("POST", "/v1/conversations/messages/batch", self._record_batch),
            ("POST", "/v1/context/(?P<level>user|customer|client|conversation)/fetch", self._fetch),
            ("GET", "/v1/conversations/(?P<conversation>.+)/context-for-prompt", self._context_for_prompt),
            ("GET", "/v1/conversations/(?P<conversation>.+)/messages", self._messages),
            ("POST", "/v1/conversations/ingest", transcripts.ingest),
            ("POST", "/v1/conversations/compact", self._compactions.compact),
            ("GET", "/v1/conversations/(?P<conversation>.+)/compacted", self._compactions.compacted),
            ("GET", "/v1/conversations/(?P<conversation>.+)/compaction/status", self._compactions.status),
            ("GET", "/v1/users/(?P<user>.+)/profile", self._profile),
            ("POST", "/api/v1/memories/create", memories.create),
            ("POST", "/api/v1/memories/batch", memories.create_batch),
            ("POST", UPLOAD, memories.upload),
            ("POST", "/api/v1/memories/forget", memories.forget),
            ("POST", "/api/v1/memories/delete", memories.delete_all),
            ("GET", "/api/v1/memories/status/(?P<ingestion>.+)", memories.status),
            ("GET", "/api/v1/memories/(?P<memory>[^/]+)", memories.get),
            ("PATCH", "/api/v1/memories/(?P<memory>[^/]+)", memories.update),
            ("DELETE", "/api/v1/memories/(?P<memory>[^/]+)", memories.delete),
            ("POST", "/v1/data/delete", data.delete),
            ("GET", "/v1/data/delete/(?P<deletion>.+)", data.status),
            ("GET", "/api/v1/auth/whoami", lambda _: answers.whoami()),
            ("GET", "/health", lambda _: {"status": "ok"}),
            ("POST", "/v1/telemetry/batch", lambda _: {"status": "accepted"}),
            ("GET", "/v1/credits/balance", lambda _: answers.balance()),
            ("GET", "/v1/credits/ledger", lambda _: answers.ledger()),
            ("POST", "/v1/credits/estimate", lambda _: {"credits_estimate": 0}),
            ("POST", "/v1/credits/redeem", lambda _: answers.redeemed()),
        )
        self._routes = [_Route(method, re.compile(path, re.DOTALL), handle) for method, path, handle in table]

    def answer(self, method: str, path: str, *, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to one request; ``path`` is percent-decoded, ``query`` is not. Raises only what is our fault."""
        known = [(route, named) for route in self._routes if (named := route.path.fullmatch(path))]
        for route, named in known:
            if route.method == method:
                request = Request({k.lower(): v for k, v in headers.items()}, query_of(query), body, named.groupdict())
                return self._handled(route, request)
        if known:
            return _refusal(405, "METHOD_NOT_ALLOWED", f"{method} is not possible here")
        return _refusal(404, "NOT_FOUND", "the local Synap does not have this")

    def _handled(self, route: _Route, request: Request) -> Answer:
        try:
            return _reply(200, route.handle(request))
        except ContextNotFoundError as error:
            return _refusal(404, "NOT_FOUND", error.message)
        except ConflictError as error:
            return _refusal(409, "CONFLICT", error.message, error.details)
        except InvalidInputError as error:
            return _refusal(422, "INVALID_INPUT", error.message, error.details)
        except sqlite3.Error as error:
            status, headers, body = _refusal(503, "UNAVAILABLE", f"the store cannot be used now: {error}")
            return status, headers | {"retry-after": "1"}, body

    # --- turns -----------------------------------------------------------------------------------------------

    def _record(self, request: Request) -> Json:
        turn = new_turn(
            request.json(),
            key=request.headers.get("idempotency-key"),
            correlation_id=request.headers.get("x-correlation-id"),
        )
        recorded = self._engine.record(turn)
        self._on_turn(recorded)
        return answers.recorded(recorded)

    def _record_batch(self, request: Request) -> Json:
        entries = request.json().get("messages")
        if not isinstance(entries, list):
            message = "messages must be a list"
            raise InvalidInputError(message, details={"argument": "messages"})
        key, correlation_id = request.headers.get("idempotency-key"), request.headers.get("x-correlation-id")
        turns, errors = [], []
        for index, entry in enumerate(entries):
            try:
                turns.append(
                    new_turn(
                        entry,
                        key=f"{key}:{index}" if key else None,
                        correlation_id=f"{correlation_id}:{index}" if correlation_id else None,
                    )
                )
            except InvalidInputError as error:
                errors.append({"index": index, **answers.refusal("INVALID_INPUT", error.message, error.details)})
        stored = self._engine.record_all(turns)
        for recorded in stored:
            self._on_turn(recorded)
        return {
            "total": len(entries),
            "succeeded": len(stored),
            "failed": len(errors),
            "results": [answers.recorded(recorded) for recorded in stored],
            "errors": errors,
        }

    def _messages(self, request: Request) -> Json:
        owner, conversation_id = self._conversation(request)
        if owner is None:
            return {"turns": []}
        start, limit = _number(request, "start", 1), _number(request, "limit", _PAGE)
        turns = self._engine.store.turns(owner, conversation_id, start=start, limit=min(limit, _PAGE))
        return {"turns": [answers.message(turn) for turn in turns]}

    # --- context ---------------------------------------------------------------------------------------------

    def _context_for_prompt(self, request: Request) -> Json:
        style = request.query.get("style", "structured")
        if style not in get_args(answers.Style):
            message = f"style must be one of {', '.join(get_args(answers.Style))}"
            raise InvalidInputError(message, details={"argument": "style"})
        owner, conversation_id = self._conversation(request)
        asked = cast("answers.Style", style)
        end = self._engine.store.extent(owner, conversation_id) if owner else None
        if owner is None or end is None:
            return answers.context_for_prompt([], total=0, style=asked)
        compactions = self._compactions.compactions
        cut = compactions.latest(owner, conversation_id)
        first = cut.position + 1 if cut else 1
        turns = self._engine.store.turns(owner, conversation_id, start=first, limit=_RECENT, newest=True)
        excerpt = (cut, compactions.excerpt(owner, cut)) if cut else None
        return answers.context_for_prompt(
            turns, total=end.position, style=asked, excerpt=excerpt, now=self._engine.now()
        )

    def _fetch(self, request: Request) -> Json:
        level = request.named["level"]
        asked = wanted(request.json(), level=level)
        conversation_id = asked.scope.conversation_id if level == "conversation" else None
        owner = self._owner(level, asked)
        found = self._found(owner, asked, conversation_id) if owner and "episodes" in asked.types else []
        stated = self._stated(owner, asked, conversation_id) if owner else []
        answer = answers.fetched(found, stated, ranked=asked.ranked, limit=asked.limit)
        if owner and asked.previous is not None:
            answer |= self._in_short(owner, asked)
        if owner and conversation_id and asked.with_conversation:
            recent = self._engine.store.turns(owner, conversation_id, limit=20, newest=True)
            if recent:
                answer["conversation_context"] = answers.conversation_context(conversation_id, recent)
        return answer

    def _in_short(self, owner: Owner, asked: Wanted) -> Json:
        """The user's profile and earlier conversations, for an application that begins a new one."""
        besides = asked.scope.conversation_id or ""
        earlier = self._engine.store.latest_conversations(owner, besides=besides, limit=asked.previous or 0)
        conversations = [self._engine.store.turns(owner, named, limit=-1) for named in earlier]
        told = [answers.in_short(turns) for turns in conversations if turns]
        profile = self._engine.profile(owner) if asked.with_profile else None
        return {**(answers.profile(profile) if profile else {}), "conversations": told}

    def _owner(self, level: str, asked: Wanted) -> Owner | None:
        """Whose memory a fetch is about. Of a customer or a client as a whole there are only documents."""
        if level == "user" or (level == "conversation" and asked.scope.user_id is not None):
            return owner_of(asked.scope)
        if level == "conversation" and asked.scope.conversation_id is not None:
            return self._engine.owner_of(asked.scope.conversation_id)
        if level == "customer":
            return Owner(asked.scope.customer_id or "", "")
        return Owner("", "") if level == "client" else None

    def _found(self, owner: Owner, asked: Wanted, conversation_id: str | None) -> list[Found]:
        if asked.queries:
            return self._engine.search(
                owner,
                asked.queries,
                limit=asked.limit,
                conversation_id=conversation_id,
                per_query=asked.per_query,
            )
        return self._engine.newest(owner, limit=asked.limit, conversation_id=conversation_id)

    def _stated(self, owner: Owner, asked: Wanted, conversation_id: str | None) -> list[Stated]:
        kinds = [kind for kind in KINDS if kind in asked.types]
        return self._engine.statements(
            owner, asked.queries, kinds=kinds, limit=asked.limit, conversation_id=conversation_id
        )

    def _profile(self, request: Request) -> Json:
        """A profile that does not exist is 404; whoever asks then fetches instead."""
        owner = owner_of(scope_of({**request.query, "user_id": request.named["user"]}, need=("user_id",)))
        found = self._engine.profile(owner)
        if found is None:
            message = "nothing is known of this user"
            raise ContextNotFoundError(message)
        return answers.profile(found)

    def _conversation(self, request: Request) -> tuple[Owner | None, str]:
        """Whose conversation the path names: the user of the query, else its only owner."""
        scope = scope_of({**request.query, "conversation_id": request.named["conversation"]})
        assert scope.conversation_id is not None
        owner = owner_of(scope) if scope.user_id else self._engine.owner_of(scope.conversation_id)
        return owner, scope.conversation_id


def _number(request: Request, name: str, default: int) -> int:
    raw = request.query.get(name, "")
    if not raw:
        return default
    if not (raw.isascii() and raw.isdigit() and len(raw) < 19):
        message = f"{name} must be a whole number from 0 up"
        raise InvalidInputError(message, details={"argument": name})
    return int(raw)


def _reply(status: int, body: Json) -> Answer:
    return status, dict(_HEADERS), json.dumps(body, ensure_ascii=False).encode()


def _refusal(status: int, code: str, detail: str, details: Json | None = None) -> Answer:
    return _reply(status, answers.refusal(code, detail, details))

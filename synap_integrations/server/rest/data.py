"""Everything of a user, a conversation or a customer: counted, or forgotten, by REST."""

from __future__ import annotations

from synap_integrations.server.engine import Engine
from synap_integrations.server.store.forgetting import Forgotten, Target

from .answers import Json
from .bodies import Request, choice_of, missing, refuse, scope_of


class DataApi:
    """Handlers for ``/v1/data``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def delete(self, request: Request) -> Json:
        """Everything of a user, a conversation or a customer is counted, or forgotten."""
        body = request.json()
        level = choice_of(body, "scope", ("user", "conversation", "customer"), "")
        if not level:
            refuse("scope", "must be one of user, conversation, customer")
        named = f"{level}_id"
        scope = scope_of(body, need=(named,))
        preview = body.get("dry_run") is True
        if not preview and body.get("confirm") != body.get(named):
            refuse("confirm", f"must be the {named} that is to be deleted")
        target = self._target(level, scope.customer_id or "", scope.user_id, scope.conversation_id)
        forgetting = self._engine.forgetting
        forgotten = Forgotten()
        if target is not None:
            forgotten = forgetting.preview(target) if preview else forgetting.forget(target)
        return self._engine.forgetting.note(
            self._engine.new_id(), _report(level, forgotten, preview=preview), now=self._engine.now()
        )

    def status(self, request: Request) -> Json:
        """What a deletion did."""
        report = self._engine.forgetting.noted(request.named["deletion"])
        if report is None:
            missing("there was no such deletion")
        return report

    def _target(self, level: str, customer_id: str, user_id: str | None, conversation_id: str | None) -> Target | None:
        if level == "customer":
            return Target(customer_id=customer_id)
        if level == "user" or user_id is not None:
            within = conversation_id if level == "conversation" else None
            return Target(customer_id=customer_id, user_id=user_id, conversation_id=within)
        assert conversation_id is not None
        owner = self._engine.owner_of(conversation_id)
        return Target(**owner._asdict(), conversation_id=conversation_id) if owner else None


def _report(level: str, forgotten: Forgotten, *, preview: bool) -> Json:
    left = list(forgotten.still_present_in)
    return {
        "status": "dry_run" if preview else "partial" if left else "complete",
        "scope": level,
        "dry_run": preview,
        "found": forgotten.found,
        "counts": dict(forgotten.counts),
        "stores": {"local": dict(forgotten.counts)},
        "still_present_in": left,
        "fully_removed": not preview and not left,
        "continue": False,
        "kept": [],
        "note": "what was learned from the turns goes with them; event ids stay as digests, so that nothing comes back",
        "memories_kept": False,
        "audit": None,
    }

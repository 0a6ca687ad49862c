"""Who is talking in a turn: found out as soon as it can be known, as late as somebody may still say so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from synap_integrations import runtime, scoping
from synap_integrations.langchain.capture.conversations import Conversation, Conversations
from synap_integrations.model import Scope, new_id

if TYPE_CHECKING:
    from synap_integrations.langchain.capture.roots import Root
    from synap_integrations.langchain.options import Options

_log: Final = logging.getLogger(__name__)


class ScopeResolver:
    """Gives each root its scope and its conversation. Not thread-safe: the tracker's lock covers it."""

    def __init__(self) -> None:
        self._conversations = Conversations()
        self._warned = False

    def resolve(self, root: Root, *, last_chance: bool = False) -> None:
        """Find out who is talking, as far as it can be known; from then on it stays."""
        if root.scope_resolved:
            return
        scope = root.scope
        if scope.conversation_id is None or scope.user_id is None:
            scope = scoping.merged(scope, root.carried)
        if scope.customer_id is None or scope.user_id is None:
            scope = scoping.merged(scope, runtime.environment_scope())
        root.scope = scope
        if scope.conversation_id is None:
            if root.options.automatic and not last_chance:
                # A handler of the application's own, on the model, may report next, and know better.
                return
            root.scope = self._generated(scope, automatic=root.options.automatic)
            root.conversation = Conversation(root.options.synap)
        else:
            root.conversation = self._conversations.of(scope, root.options.synap)
        root.scope_resolved, root.awaiting_other_handler = True, False
        if root.opening is not None:
            opening, root.opening = root.opening, None
            root.record_user(opening)

    def claim(self, root: Root, options: Options) -> None:
        """A handler of the application's own reports a turn that the automatic one has opened: its options win."""
        if root.options.automatic and not options.automatic and not root.recorded and not root.excluded:
            root.claimed = True
            root.options = options
            root.handlers = (*root.handlers, options)
            root.scope = scoping.merged(options.scope, root.scope)
            root.scope_resolved = False
            self.resolve(root)
        elif root.awaiting_other_handler:
            self.resolve(root, last_chance=True)

    def _generated(self, scope: Scope, *, automatic: bool) -> Scope:
        if not self._warned:
            self._warned = True
            # A program that is captured without a line of its own has nobody who could heed it, and says what it says.
            _log.log(
                logging.INFO if automatic else logging.WARNING,
                "synap: a run names no conversation, so it is kept as a conversation of its own; pass "
                "config={'metadata': {'conversation_id': …, 'user_id': …}} or use synap_integrations.context(…)",
            )
        return scoping.merged(scope, Scope(f"conversation-{new_id()}"))

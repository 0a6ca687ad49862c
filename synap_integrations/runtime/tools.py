"""How agents' tools are made, whatever the framework: an action, whom it asks, and the framework's own keywords.

Each class stands before an island's own tool, which takes ``(action, synap, **fields)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .search_options import SearchTerms
from .tool_actions import Forgetting, Searching, Storing, ToolAction

if TYPE_CHECKING:

    class Tool:
        """An island's tool."""

        def __init__(self, action: ToolAction, synap: object | None, **fields: Any) -> None: ...  # noqa: ANN401 - the island's

else:
    Tool = object


class SearchTool(Tool):
    """Lets an agent search the memory of the user it is talking to.

    Whose memory that is comes from the run, or from the ids given here; a model cannot choose. ``types``,
    ``max_results``, ``mode`` and ``synap`` (or ``sdk``) are those of `SynapRetriever`. The result is a block that
    stored text cannot leave.

    Raises: InvalidInputError, when it is made.
    """

    def __init__(
        self,
        synap: object | None = None,
        *,
        sdk: object | None = None,
        types: Sequence[str] | None = None,
        max_results: int = 10,
        mode: str = "fast",
        **fields: Any,  # noqa: ANN401 - the framework's
    ) -> None:
        terms = SearchTerms.checked(types=types, max_results=max_results, mode=mode)
        super().__init__(Searching(terms), synap if synap is not None else sdk, **fields)


class StoreTool(Tool):
    """Lets an agent have something remembered about the user it is talking to, marked as coming from ``source``.

    It is kept by the platform when the tool says so; if the platform cannot be reached, the tool says that.

    Raises: InvalidInputError, when it is made.
    """

    def __init__(
        self,
        synap: object | None = None,
        *,
        sdk: object | None = None,
        source: str = "agent",
        **fields: Any,  # noqa: ANN401 - the framework's
    ) -> None:
        super().__init__(Storing(source), synap if synap is not None else sdk, **fields)


class ForgetTool(Tool):
    """Lets an agent have something forgotten: it is shown what matches, and only exactly that can then be deleted.

    Raises: InvalidInputError, when it is made.
    """

    def __init__(
        self,
        synap: object | None = None,
        *,
        sdk: object | None = None,
        **fields: Any,  # noqa: ANN401 - the framework's
    ) -> None:
        super().__init__(Forgetting(), synap if synap is not None else sdk, **fields)

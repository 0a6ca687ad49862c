"""What `synap run` was asked for, and how it reaches the program that it starts.

Plain classes and no typing at run time: this is loaded before the program, and costs it every time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

VARIABLE: Final = "SYNAP_RUN"
"""Set for the program that `synap run` starts, and taken out of its environment by `boot`. Nobody sets it by hand."""

HEADERS: Final = "headers"
"""The ready source of identity: the headers of the HTTP request that is being answered."""

SERVERS: Final = (
    "uvicorn.config",
    "gunicorn.app.base",
    "hypercorn.utils",
    "daphne.server",
    "wsgiref.simple_server",
    "granian.asgi",
    "granian.wsgi",
)
"""The modules whose import must not be missed for it; `server_hooks` says what happens there."""


class Terms:
    """``inject``: context goes into prompts. ``follow``: child processes, too. ``identify``: who is talking, as
    ``module:function`` or ``headers``. ``drain``: the seconds that SIGTERM waits, as the user wrote them.
    """

    __slots__ = ("drain", "follow", "identify", "inject")

    def __init__(
        self, *, inject: bool = False, follow: bool = False, identify: str | None = None, drain: str | None = None
    ) -> None:
        self.inject = inject
        self.follow = follow
        self.identify = identify
        self.drain = drain

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Terms) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        words = [word for word, said in (("inject", self.inject), ("follow", self.follow)) if said]
        valued = (("identify", self.identify), ("drain", self.drain))
        return ";".join([*words, *[f"{name}={value}" for name, value in valued if value]])

    @classmethod
    def read(cls, text: str) -> Terms:
        """The terms that ``str`` has written; words nobody knows are skipped."""
        words = text.split(";")
        said = {name: value for name, is_one, value in [word.partition("=") for word in words] if is_one}
        return cls(
            inject="inject" in words,
            follow="follow" in words,
            identify=said.get("identify") or None,
            drain=said.get("drain") or None,
        )

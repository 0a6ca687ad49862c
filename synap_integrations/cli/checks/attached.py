"""What attaches itself to a program that is started from here, and what has to be in its code."""

from __future__ import annotations

from typing import Final

from synap_integrations.auto import launch, start
from synap_integrations.auto.run_options import Terms

from .findings import Finding

_FROM_INSIDE: Final = "synap run -- synap doctor  (looks from inside a program that is captured)"


def attached_finding(titles: list[str]) -> Finding:
    """By what, and from where, the installed frameworks are attached to in this process; or what would do it."""
    if not titles:
        return Finding("attached", "note", "there is no framework here to attach to")
    named, terms = ", ".join(titles), start.waiting()
    if terms is None:
        says = f"nothing attaches to {named} by itself: a handler or enable() in the code does, or `synap run`"
        return Finding("attached", "note", says, _FROM_INSIDE, {"by": None, "frameworks": titles})
    details = {"by": "synap run", "from": launch.BOOT, "terms": str(terms), "frameworks": titles}
    says = f"`synap run` attaches to {named} when they are imported, {_described(terms)}"
    return Finding("attached", "fine", says, "", details)


def _described(terms: Terms) -> str:
    context = "with context in prompts" if terms.inject else "without context in prompts"
    who = f"users by {terms.identify}" if terms.identify else "users by the code or SYNAP_USER_ID"
    children = "children, too" if terms.follow else "no children"
    return f"from {launch.BOOT}: {context}, {who}, {children}"

"""Who is talking to the advisor: the application's own knowledge, in a context variable."""

from contextvars import ContextVar

user = ContextVar("user", default=None)


def talks():
    """Whose turn it is, here and now."""
    current = user.get()
    return current and {"user_id": current, "conversation_id": f"today-{current}"}

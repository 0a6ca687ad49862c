"""When to push, what, and to whom."""

"""Bytes ⇄ model: the only code that knows field names."""

"""What other tools export: one file for each, pure functions.

Each module has ``recognizes(value) -> bool`` and ``read(value) -> Iterator[Past]``; a value is a JSON value of the
file, whole or of one line. What has no speaker, no words or no place in a conversation is left out. Recognition looks
at names that only this tool uses, so that no file is claimed twice.
"""

"""The inspector: what a local Synap was told, what it pushed, and what a model saw of it. docs/inspector.md shows it.

`routes` are the pages. `file`, `reading`, `transcript` and `export` need no web server: commands use them, too.
"""

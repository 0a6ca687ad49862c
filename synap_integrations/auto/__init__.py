"""Zero code: watch for a framework's import, then attach. Imports no framework, and nothing that takes time to import.

`start` is what runs first in a program under ``synap run``; `switch` is ``enable()`` and ``disable()``. Both put their
`watcher` in place and let `wiring` attach what was imported.
"""

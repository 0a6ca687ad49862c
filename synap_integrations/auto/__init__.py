"""Zero code: watch for a framework's import, then attach. Imports no framework, and nothing that takes time to import.

`start` is what runs first in a program under ``synap run``; `switch` is ``enable()`` and ``disable()``, and attaches
what was imported. Both hear of imports from a `watcher`.
"""

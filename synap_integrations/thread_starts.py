"""Whether a thread can be started: Python 3.12.0 to 3.12.2 refuse it from the moment when the main thread has ended.

That is when the last delivery happens. Before and after, only the very end of the interpreter refuses.

Source: CPython issue 113964; 3.12.1 and 3.13.0, Python/pylifecycle.c, Py_FinalizeEx; Lib/threading.py, _shutdown
"""

from __future__ import annotations

import threading


def possible() -> bool:
    """True if a thread can be started now; found out by starting one once the main thread has ended."""
    if not getattr(threading, "_SHUTTING_DOWN", True):
        return True
    try:
        threading.Thread(target=int, name="synap-try", daemon=True).start()
    except RuntimeError:
        return False
    return True

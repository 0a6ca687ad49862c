"""What Python runs before a program that `synap run` has started; the only file in a folder that is on its path first.

It takes itself out of the way (path, environment, module), starts to watch, and gives way to the user's own
``sitecustomize``. It may be run by a Python of any version that has nothing of ours installed: no syntax and no import
that such a one lacks.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _leave() -> str | None:
    """Take this folder off the path; unless child processes are to be followed, out of the environment, too.

    Returns what `synap run` has handed over, None if it did not start this program.
    """
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != _HERE]
    sys.path_importer_cache.pop(_HERE, None)
    terms = os.environ.get("SYNAP_RUN")
    if terms is None or "follow" not in terms.split(";"):
        os.environ.pop("SYNAP_RUN", None)
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        kept = [place for place in places if place and os.path.abspath(place) != _HERE]
        if kept:
            os.environ["PYTHONPATH"] = os.pathsep.join(kept)
        else:
            os.environ.pop("PYTHONPATH", None)
    return terms


def _begin(terms: str) -> None:
    """Start to watch, unless capture is off for this program."""
    try:
        from synap_integrations.auto.start import begin  # noqa: PLC0415 - it may not be there
    except ImportError as error:
        message = "synap: not captured: %s, in the Python of %s; the program runs as it is\n"
        sys.stderr.write(message % (error, sys.prefix))
    else:
        begin(terms)


_terms = _leave()
if _terms is not None:
    _begin(_terms)

# As without us: the user's own, or the error that says there is none, which `site` expects.
del sys.modules["sitecustomize"]
import sitecustomize  # type: ignore[import-not-found] # the next one on the path, if any  # noqa: E402, F401

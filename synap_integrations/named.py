"""Objects by their names, ``module:attribute``, as settings, manifests and command lines give them."""

from __future__ import annotations

from importlib import import_module


def is_name(text: str) -> bool:
    """True for the form ``module:attribute``; both may have dots."""
    module, colon, path = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *path.split(".")])


def named(name: str) -> object:
    """What the name stands for; its module is imported.

    Raises: AttributeError, if there is nothing of that name; ImportError, and whatever else the module raises.
    """
    module, _, path = name.partition(":")
    found: object = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found

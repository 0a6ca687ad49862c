"""Objects by their names, ``module:attribute``, as settings, manifests and command lines give them."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_NO_NEEDS: Mapping[str, str] = {}


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


def lazily(package: str, homes: Mapping[str, str], needs: Mapping[str, str] = _NO_NEEDS) -> Callable[[str], object]:
    """A package's ``__getattr__``: each of its names is taken from its module, relative to it, at its first use.

    ``needs`` has what to install for each foreign package that may be missing: the ImportError says so.
    """

    def found(name: str) -> object:
        if name not in homes:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        try:
            return getattr(import_module(homes[name], package), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in needs:
                raise
            message = f"{name} needs {missing}, which is not installed: pip install {needs[missing]}"
            raise ModuleNotFoundError(message, name=error.name) from error

    return found


def no_attribute(owner: object, name: str, *, elsewhere: Collection[str], instead: str) -> AttributeError:
    """What a ``__getattr__`` raises: for a name that only another framework asks for, with what to use there."""
    message = f"{type(owner).__name__!r} object has no attribute {name!r}"
    return AttributeError(f"{message}: {instead}" if name in elsewhere else message, name=name, obj=owner)

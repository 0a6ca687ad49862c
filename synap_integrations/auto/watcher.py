"""Call somebody when a module has been imported, without importing it.

Source: Python 3.11, importlib/_bootstrap.py, _find_spec and _load_unlocked
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class ImportWatcher:
    """Waits for modules by name; each is told once, right after it was loaded and before its importer goes on.

    Whatever ``told`` raises reaches the importer: contain it. Once nothing is waited for, nothing of it is left in the
    interpreter. A module that is loaded already is told at `install`.
    """

    def __init__(self, told: dict[str, list[Callable[[], None]]]) -> None:
        self._waiting = dict(told)
        self._searching: set[str] = set()

    def install(self) -> None:
        """Begin to watch."""
        sys.meta_path.insert(0, self)
        for name in [name for name in self._waiting if name in sys.modules]:
            self._tell(name)

    def remove(self) -> None:
        """Watch no more. Idempotent."""
        self._waiting.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find; for a module that is waited for, with a loader that tells."""
        if name not in self._waiting or name in self._searching:
            return None
        self._searching.add(name)  # another watcher may ask all finders, and so this one again
        try:
            spec = _found(self, name, path, target)
        finally:
            self._searching.discard(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Telling(spec.loader, lambda: self._tell(name))  # type: ignore[assignment] # stands for it
        return spec

    def _tell(self, name: str) -> None:
        told = self._waiting.pop(name, [])
        if not self._waiting:
            self.remove()
        for one in told:
            one()


class _Telling:
    """A module's own loader, which is put back in its place before the module runs."""

    def __init__(self, loader: Any, tell: Callable[[], None]) -> None:  # noqa: ANN401 - anybody's loader
        self._loader = loader
        self._tell = tell

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader does."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then tell."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._tell()


def _found(
    watcher: ImportWatcher, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        find = None if finder is watcher else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, target) if find else None
        if spec is not None:
            return spec
    return None

"""What we know, ready before it is asked: store · selection · render · desk.

The package shares its name with ``synap_integrations.context(...)``, the block that says whose conversation this is. An
import of this package puts the module where that function was, so the module can be called and does what it does.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import ModuleType

from synap_integrations import scoping
from synap_integrations.model import Scope


class _CallablePackage(ModuleType):
    """The package, with the function of the same name as its call."""

    def __call__(self, **ids: str | None) -> AbstractContextManager[Scope]:
        return scoping.context(**ids)


sys.modules[__name__].__class__ = _CallablePackage

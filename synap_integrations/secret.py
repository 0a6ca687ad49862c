"""What no print, pickle or traceback shows."""

from __future__ import annotations

import hashlib
import hmac


class Secret:
    """A key that cannot be printed, pickled or shown in a traceback by accident; ``reveal()`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself. Only the wire needs it."""
        return self._value

    def fingerprint(self) -> str:
        """8 hex digits that tell two keys apart and give neither away."""
        return hmac.new(self._value.encode(), b"synap key fingerprint", hashlib.sha256).hexdigest()[:8]

    def __repr__(self) -> str:
        """Never the key."""
        return f"Secret({self.fingerprint()})"

    def __copy__(self) -> Secret:
        """The same secret: it does not change."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        """The same secret: it does not change."""
        return self

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        message = "a key is not pickled: read it from the environment where it is needed"
        raise TypeError(message)

    def __eq__(self, other: object) -> bool:
        """Equal keys, compared in constant time."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        """Consistent with equality."""
        return hash(self._value)

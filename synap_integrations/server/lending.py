"""What an application lends, looked at before anything is made of it."""

from __future__ import annotations

from synap_integrations.errors import InvalidInputError
from synap_integrations.ports import Lent


def checked(lent: Lent, *, embedded: bool) -> Lent:
    """The same models. Raises: InvalidInputError, if one of them is none, or if no Synap is here to use them."""
    if not embedded:
        message = "embeddings and extractor are for the embedded Synap, and this one speaks to another: leave them out"
        raise InvalidInputError(message, details={"argument": "embeddings" if lent.embeddings else "extractor"})
    if lent.embeddings is not None:
        from .retrieval.encoders import encoder_of  # noqa: PLC0415 - only for those who have one

        encoder_of(lent.embeddings)
    if lent.extractor is not None:
        from .extraction.passages import extractor_of  # noqa: PLC0415 - only for those who have one

        extractor_of(lent.extractor)
    return lent

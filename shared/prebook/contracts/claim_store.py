"""HTTP bodies of the endpoint by which operations keeps the stored bodies that dead letters refer to."""

from typing import Annotated

import msgspec

MAX_REFERENCES = 500
"""Number of references in one request."""
Reference = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]


class ExtendBodies(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /checked-bodies/extensions``: the lifetime of these stored bodies begins again."""

    references: Annotated[tuple[Reference, ...], msgspec.Meta(max_length=MAX_REFERENCES)]


class ExtendedBodies(msgspec.Struct, frozen=True, kw_only=True):
    """Response: how many of the bodies there are."""

    kept: int

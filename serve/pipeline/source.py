"""Where the items of an answer come from; a module of its own, so that the client needs no other stage code."""

from enum import StrEnum


class Source(StrEnum):
    """Where the items of an answer come from."""

    towers = "towers"  # retrieval by the two towers
    popular = "popular"  # the popularity fallback

"""What passes from stage to stage. Each carries the id of the one release that answers the request.

    Query -> UserVector -> Candidates -> Ranked -> Response

Shape legend: D dimension, K candidates.
"""

from enum import StrEnum


class Source(StrEnum):
    """Where candidates come from."""

    towers = "towers"
    popular = "popular"

"""The configuration of batch inference."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds
from serve.api.limits import MAX_K


@dataclass(kw_only=True, slots=True)
class RecommendConfig:
    """Batch inference by serve.recommend.

    Attributes:
        k: Items per user.
        users: A file or folder, Parquet or CSV, with a column `user_id`; null means all users of the release.
        exclude_seen: Whether to leave out what a user has seen by the log; null means as the release was measured, by
            the `evaluate.seen` of its training.
        part_size: Users per file.
        num_workers: Processes, each of which loads the release.
    """

    k: int = bounded(20, at_least=1, at_most=MAX_K)
    users: str | None = None
    exclude_seen: bool | None = None
    part_size: int = bounded(10_000, at_least=1)
    num_workers: int = bounded(1, at_least=1)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "recommend")

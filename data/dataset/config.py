"""The configuration of a dataset: which log it comes from, and how it is split."""

from dataclasses import dataclass, field

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.dataset.clock import ClockKind
from data.dataset.split import SplitConfig
from data.sources.source import SourceConfig


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Which log to read, and how to make a dataset of it.

    Attributes:
        name: begins the folder names of the dataset and of the checkpoints and releases that come from it.
        source: where the log is and how to read it.
        split: how interactions are split into train, validation and test.
        min_weight: interactions with a lower weight (rating) are left out, as if the log did not have them; null keeps
            all.
        clock: whether times are moments (seconds) or no more than an order; auto concludes it from the numbers.
        users_per_part: number of users in one file of interactions. One task prepares one such part in memory.
    """

    name: str
    source: SourceConfig
    split: SplitConfig = field(default_factory=SplitConfig)
    min_weight: float | None = bounded(None)
    clock: ClockKind = ClockKind.auto
    users_per_part: int = bounded(50_000, at_least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "data")
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"data.name: {self.name!r} must consist of letters, digits, - and _")

"""What a report holds, and what it is asked to hold; measured in towers/evaluation/measure.py, shown in towers/evaluation/tables.py."""

from dataclasses import dataclass, field

from data.artifacts.errors import ConfigError
from towers.evaluation.baselines import Floor
from towers.evaluation.intervals import RESAMPLES
from towers.evaluation.ranking import RANKS


@dataclass(kw_only=True, slots=True)
class Peer:
    """What others have published on the same data and split, shown beside what is measured.

    Attributes:
        source: where it is published.
        metrics: by the names of ours, such as {recall@20: 0.19}.
    """

    name: str
    source: str
    metrics: dict[str, float]


@dataclass(kw_only=True, slots=True)
class EvaluateConfig:
    """What is reported.

    Attributes:
        ks: cut-offs of the metrics, at most 100.
        k: the one of them that tables, slices and plots show.
        batch_size: users scored at a time.
        floors: what is measured beside the towers.
        recent_share: share of the interactions, by time, that recent popularity counts.
        resamples: of the bootstrap intervals.
        peers: published results.
    """

    ks: list[int] = field(default_factory=lambda: [5, 10, 20, 50])
    k: int = 20
    batch_size: int = 512
    floors: list[Floor] = field(default_factory=lambda: list(Floor))
    recent_share: float = 0.1
    resamples: int = RESAMPLES
    peers: list[Peer] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.ks or not all(1 <= k <= RANKS for k in self.ks):
            raise ConfigError(f"evaluate.ks: {list(self.ks)} must be cut-offs between 1 and {RANKS}")
        if self.k not in self.ks:
            raise ConfigError(f"evaluate.k: {self.k} must be one of evaluate.ks {list(self.ks)}; add it there")
        for name in ("batch_size", "resamples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluate.{name}: {getattr(self, name)} must be at least 1")
        if not 0 < self.recent_share <= 1:
            raise ConfigError(f"evaluate.recent_share: {self.recent_share} must lie in (0, 1]")

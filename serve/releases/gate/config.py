"""What a release must hold before there is one: it is compared with the live one, and its vectors are looked at.

Shape legend: Q queries, N items, D dimension.
"""

from dataclasses import dataclass

from data.artifacts.errors import ConfigError, UserError


class GateError(UserError, ValueError):
    """A release is held back: the message names what it lacks."""


@dataclass(kw_only=True, slots=True)
class GateConfig:
    """The bounds, conf/gate.

    Attributes:
        max_loss: of nDCG, as a share of the live release's; and whatever the loss, a paired test must not call it clear
            (overall, and for the least active quarter of the users).
        max_coverage_loss: as a share of the live release's catalogue coverage.
        max_popular_rise: of the share that the most popular tenth of the items has in what is shown.
        min_over_popularity: nDCG of the re-ranked towers over that of popular items, in the checkpoint's own report.
        max_golden_ms: median of the golden queries through all stages in this process.
        max_mean_cosine: between two items' vectors; near 1 they have collapsed into one.
        min_effective_dims: participation ratio of the items' covariance: dimensions that are in use.
        max_norm_ratio: longest vector of an item over the first percentile of their lengths.
    """

    max_loss: float = 0.05
    max_coverage_loss: float = 0.2
    max_popular_rise: float = 0.1
    min_over_popularity: float = 1.0
    max_golden_ms: float = 50.0
    max_mean_cosine: float = 0.6
    min_effective_dims: float = 3.0
    max_norm_ratio: float = 20.0

    def __post_init__(self) -> None:
        for name in ("max_golden_ms", "max_norm_ratio"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"gate.{name}: {getattr(self, name)} must be above 0")

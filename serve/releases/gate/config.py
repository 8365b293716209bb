"""The bounds of the release gate, conf/gate, and the error of a release that does not keep them."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import UserError


class GateError(UserError, ValueError):
    """The gate holds a release back; the message names the checks that failed."""


@dataclass(kw_only=True, slots=True)
class GateConfig:
    """The bounds of the checks.

    Attributes:
        max_loss: the largest loss of nDCG, as a share of the live release's nDCG. Beside that, a paired test by user
            must not find a significant loss, neither over all users nor over the least active quarter of them.
        max_coverage_loss: the largest loss of catalogue coverage, as a share of the live release's coverage.
        max_popular_rise: the largest rise, in absolute terms, of the share of recommendations that are in the most
            popular decile of the items.
        min_over_popularity: the smallest ratio of the re-ranked towers' nDCG to that of a popularity baseline, both
            from the checkpoint's own report.
        max_golden_ms: the longest median time in ms of the golden queries through all stages in this process.
        max_mean_cosine: the largest mean cosine of two item vectors. Near 1, the vectors have collapsed into one.
        min_effective_dims: the smallest participation ratio of the item vectors' covariance, that is (sum of the
            eigenvalues)^2 / (sum of their squares): how many dimensions are in use.
        max_norm_ratio: the largest ratio of the longest item vector to the first percentile of their lengths.
    """

    max_loss: float = bounded(0.05, at_least=0)
    max_coverage_loss: float = bounded(0.2, at_least=0)
    max_popular_rise: float = bounded(0.1, at_least=0)
    min_over_popularity: float = bounded(1.0, at_least=0)
    max_golden_ms: float = bounded(50.0, above=0)
    max_mean_cosine: float = bounded(0.6)
    min_effective_dims: float = bounded(3.0, at_least=0)
    max_norm_ratio: float = bounded(20.0, above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "gate")

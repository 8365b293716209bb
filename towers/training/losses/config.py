"""Configuration of the loss and of its negatives."""

from dataclasses import dataclass
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from towers.training.losses import LOSSES
from towers.training.negatives import NEGATIVE_SAMPLERS, POPULAR, UNIFORM


class SeenNegatives(Enum):
    """Whether items that a user has among the positives serve as negatives of that user."""

    keep = "keep"
    mask = "mask"


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """The loss and its negatives.

    Attributes:
        kind: softmax, bilateral, bpr, or a registered one (towers/training/losses).
        exponent: weight of the negative part of the bilateral loss; above 1, hard negatives are pushed further away.
        temperature: scores are divided by it.
        in_batch: whether the other positives of the batch, of all workers, serve as negatives.
        num_uniform: negatives drawn uniformly from the items with training data, shared by the batch. (A loss with one
            negative for each positive, such as bpr, draws those uniformly whatever this number is.)
        num_popular: negatives drawn in proportion to their interactions, shared by the batch: most of a softmax's mass
            lies on popular items.
        negatives: numbers of negatives from further samplers by their registered names (towers/training/negatives).
        full: whether all items with training data are candidates, for small catalogues; other negatives and log_q are
            then not used.
        log_q: whether to correct for how often a negative is expected to be drawn.
        seen: whether other items that a user has among the positives are negatives of that user too. `mask` leaves them
            out (false negatives): where recommendations leave out what a user has seen, the towers need not rank it.
        weighted: whether interactions count in the mean by their weights; false counts all alike.
        explicit: how much it counts, beside the loss of a positive, that the positive is before an item that its user
            does not want, where the log has such negatives; 0 leaves them out.
    """

    kind: str = "softmax"
    exponent: float = bounded(1.2, above=0)
    temperature: float = bounded(0.08, above=0)
    in_batch: bool = True
    num_uniform: int = bounded(512, at_least=0)
    num_popular: int = bounded(0, at_least=0)
    negatives: dict[str, int] = bounded(factory=dict, at_least=0)
    full: bool = False
    log_q: bool = True
    seen: SeenNegatives = SeenNegatives.keep
    weighted: bool = True
    explicit: float = bounded(1.0, at_least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "loss")
        LOSSES.require(self.kind)
        for name, count in self.negatives.items():
            if name in (UNIFORM, POPULAR):
                raise ConfigError(f"loss.negatives: {name} has a key of its own; set loss.num_{name}={count}")
            NEGATIVE_SAMPLERS.require(name)
        if not (self.num_drawn or self.in_batch or self.full):
            raise ConfigError("loss: needs negatives: in_batch=true, or num_uniform or num_popular of at least 1")
        if self.full and not LOSSES[self.kind].shares_negatives:
            raise ConfigError(f"loss.full: {self.kind} has one negative for each positive; set loss.full=false")

    @property
    def num_drawn(self) -> dict[str, int]:
        """Number of shared negatives of a step by the name of their sampler, without samplers that draw none."""
        counts = {UNIFORM: self.num_uniform, POPULAR: self.num_popular, **self.negatives}
        return {name: count for name, count in counts.items() if count}

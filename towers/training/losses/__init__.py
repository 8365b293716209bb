"""Losses of retrieval training, by the name that `loss.kind` gives them: one file for each.

Shape legend: B positives of this worker, C negatives, D dimension, E excluded pairs.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from data.artifacts.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from towers.training.losses.config import LossConfig


class Loss(ABC):
    """A loss of user vectors, the scores of their positives, and negatives.

    A subclass has no constructor arguments and registers itself with `@LOSSES.register(name)`.

    Attributes:
        shares_negatives: whether all positives are compared with the same C negatives, of which those that are the
            positive's own item are excluded. Otherwise C = B, and negative b belongs to positive b.
        supports_all_positions: whether the loss can train history encoders that have a positive at each position of a
            history.
    """

    shares_negatives: ClassVar[bool] = True
    supports_all_positions: ClassVar[bool] = True

    @abstractmethod
    def __call__(
        self,
        query_BD: "Tensor",
        positive_B: "Tensor",
        negative_CD: "Tensor",
        log_q_C: "Tensor | None",
        excluded_2E: "Tensor | None",
        config: "LossConfig",
        weight_B: "Tensor | None" = None,
    ) -> "Tensor":
        """Mean loss per positive, a float32 scalar in nats.

        A positive all of whose negatives are excluded counts nothing, and the mean leaves it out
        (`towers.training.negatives.same_items.have_negatives`); without any other positive, the loss is 0.

        Args:
            query_BD: float32, user vectors divided by the temperature.
            positive_B: float32, the score of each query's positive, divided by the temperature.
            negative_CD: float32, the item vectors of the negatives.
            log_q_C: float32, log of how often each negative is expected to be drawn; None leaves the correction out.
            excluded_2E: int64, pairs (query, negative) that must not count because the negative is the query's positive
                item, ordered by query: accidental hits, and the positive itself where it is among the negatives; with
                `loss.seen=mask` also the other items of the query's user (false negatives). Each pair is there once.
                None means that there are none.
            config: the configuration of the loss.
            weight_B: float32, how much each positive counts in the mean, at least 0; None means that all count alike. A
                loss that is never used with weights may leave it out.
        """


LOSSES: Registry[type[Loss]] = Registry("loss.kind", __name__)

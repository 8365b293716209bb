"""Losses of retrieval training, by the name that `loss.kind` gives them: one file for each.

Shape legend: B positives of this worker, C negatives, D dimension, E excluded pairs.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from data.artifacts.registry import Registry

if TYPE_CHECKING:
    from towers.training.losses.config import LossConfig


class Loss(ABC):
    """A loss of user vectors, the scores of their positives, and negatives.

    A subclass has no constructor arguments and registers itself with `@LOSSES.register(name)`.

    Attributes:
        shares_negatives: all positives are compared with the same C negatives, and an item's own duplicates among them
            are excluded. Otherwise C = B, and negative b belongs to positive b.
        supports_all_positions: can train history encoders that have a positive at each position of a history.
    """

    shares_negatives: ClassVar[bool] = True
    supports_all_positions: ClassVar[bool] = True

    @abstractmethod
    def __call__(
        self,
        query_BD: Tensor,
        positive_B: Tensor,
        negative_CD: Tensor,
        log_q_C: Tensor | None,
        excluded_2E: Tensor | None,
        config: "LossConfig",
    ) -> Tensor:
        """Mean loss per positive, a float32 scalar in nats.

        Args:
            query_BD: float32, user vectors divided by the temperature.
            positive_B: float32, the score of each query's positive, divided by the temperature.
            negative_CD: float32, the item vectors of the negatives.
            log_q_C: float32, log of how often each negative is expected to be drawn; None leaves the correction out.
            excluded_2E: int64, pairs (query, negative) of one item, ordered by query, which must not count: accidental
                hits, and each query's own positive where the batch's positives are among the negatives.
            config: further settings.
        """


LOSSES: Registry[type[Loss]] = Registry("loss.kind", __name__)

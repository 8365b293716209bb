"""Sampled softmax: the cross-entropy of the positive among itself and the negatives."""

from torch import Tensor

from towers.training.losses import LOSSES, Loss
from towers.training.losses.blockwise import BlockwiseContrast
from towers.training.losses.config import LossConfig


@LOSSES.register("softmax")
class SampledSoftmax(Loss):
    """`sampled_softmax` under the name softmax."""

    def __call__(
        self,
        query_BD: Tensor,
        positive_B: Tensor,
        negative_CD: Tensor,
        log_q_C: Tensor | None,
        excluded_2E: Tensor | None,
        config: LossConfig,
        weight_B: Tensor | None = None,
    ) -> Tensor:
        return sampled_softmax(query_BD, positive_B, negative_CD, log_q_C, excluded_2E, weight_B)


def sampled_softmax(
    query_BD: Tensor,
    positive_B: Tensor,
    negative_CD: Tensor,
    log_q_C: Tensor | None = None,
    excluded_2E: Tensor | None = None,
    weight_B: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the positive among itself and the negatives, each negative weighted by 1 / q.

    loss = -mean_b [s_b - log(exp(s_b) + sum_c exp(query_b . negative_c) / q_c)]

    With q the expected number of times an item is among the negatives, the sum is an unbiased estimate of the full
    softmax's (Bengio & Senecal 2008). Yi et al. 2019 subtract log q from the positive too; as accidental hits are left
    out here, the positive stands in the sum exactly once, so its q is 1.

    Arguments and result are those of `Loss`. The gradient of an excluded pair is exactly zero.
    """
    return BlockwiseContrast.apply(query_BD, positive_B, negative_CD, log_q_C, excluded_2E, None, weight_B)

"""Bilateral softmax: the softmax loss with an exponent on its negative part."""

from torch import Tensor

from towers.training.losses import LOSSES, Loss
from towers.training.losses.blockwise import BlockwiseContrast
from towers.training.losses.config import LossConfig


@LOSSES.register("bilateral")
class BilateralSoftmax(Loss):
    """`bilateral_softmax` with the exponent `loss.exponent`."""

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
        return bilateral_softmax(query_BD, positive_B, negative_CD, config.exponent, log_q_C, excluded_2E, weight_B)


def bilateral_softmax(
    query_BD: Tensor,
    positive_B: Tensor,
    negative_CD: Tensor,
    exponent: float,
    log_q_C: Tensor | None = None,
    excluded_2E: Tensor | None = None,
    weight_B: Tensor | None = None,
) -> Tensor:
    """Softmax loss with an exponent on its negative part, from which the positive is left out.

    loss = -mean_b [s_b - exponent * log(sum_c exp(query_b . negative_c) / q_c)]

    Wu et al. 2023, "BSL: Understanding and Improving Softmax Loss for Recommendation". The paper has two temperatures,
    tau_1 of the positive and tau_2 of the negatives. With one positive per row they amount to one temperature and the
    exponent tau_1 / tau_2.

    The other arguments and the result are those of `Loss`.
    """
    return BlockwiseContrast.apply(query_BD, positive_B, negative_CD, log_q_C, excluded_2E, exponent, weight_B)

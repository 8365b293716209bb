"""Relative time bias: attention that depends on how long ago an item was, by a learned number for each bucket of gaps.

Shape legend: B batch, N attention heads, L history length, K buckets.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_BUCKETS = 80
"""Buckets of gaps: up to 900 years, the last one for all longer ones."""

BUCKET_WIDTH = 0.301
"""Width of a bucket on the scale of natural logarithms, as in HSTU's code: each is 1.35 times as long as the last."""


def gap_buckets(age_BL: Tensor) -> Tensor:
    """int64 [B, L, L]: the bucket of the time between each item (row) and each item that it looks at (column).

    It is floor(ln(max(1, |gap|)) / BUCKET_WIDTH), as in HSTU (Zhai et al. 2024, "Actions Speak Louder than Words",
    section 3.2 and its code). There a gap counts from the item that follows; here it counts from the item that looks,
    so that the moment of the question has no effect.

    Args:
        age_BL: int64, seconds from each item to the latest one.
    """
    gap_BLL = (age_BL[:, None, :] - age_BL[:, :, None]).abs().clamp(min=1)
    return (gap_BLL.double().log() / BUCKET_WIDTH).long().clamp(max=NUM_BUCKETS - 1)


class TimeBias(nn.Module):
    """A number for each bucket and each head of a block, added to attention scores; all start at zero.

    HSTU has one for all heads.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(NUM_BUCKETS, num_heads))

    def forward(self, bucket_BLL: Tensor) -> Tensor:
        """int64 [B, L, L] -> float32 [B, N, L, L], minus infinity where an item would look at later ones."""
        length = bucket_BLL.shape[-1]
        is_later_LL = torch.ones(length, length, dtype=torch.bool, device=bucket_BLL.device).triu(1)
        bias_BNLL = functional.embedding(bucket_BLL, self.values).permute(0, 3, 1, 2)
        return bias_BNLL.masked_fill(is_later_LL, -torch.inf)

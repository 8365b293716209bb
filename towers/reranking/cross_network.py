"""The cross network of DCN-v2: products of features, of one degree more with each layer."""

import torch
from torch import Tensor, nn

from towers.model.layers import zeroed


class CrossNetwork(nn.Module):
    """x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l with an elementwise product (Wang et al. 2021, eq. 1 and 2).

    U_l V_l is a weight matrix of low rank. U_l and b_l start at zero, so that the network starts as the identity.
    """

    def __init__(self, width: int, num_layers: int, rank: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(num_layers))
        self.up = nn.ModuleList(zeroed(nn.Linear(rank, width)) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., width], the same shape out."""
        crossed = x
        for down, up in zip(self.down, self.up, strict=True):
            crossed = torch.addcmul(crossed, x, up(down(crossed)))
        return crossed

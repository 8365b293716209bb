"""A head of the re-ranker for each goal: how probable each event type is, from parts that the goals share.

Shape legend: B queries, K candidates, W width of the input, E experts, H width of an expert, A goals.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

UNFITTED = (1.0, 0.0)
"""Slope and bias of a goal before it is calibrated."""


class GoalHeads(nn.Module):
    """Probabilities of several event types: a multi-gate mixture of experts (Ma et al. 2018, "MMoE").

    With one expert it is a shared bottom (Caruana 1997); with a width of 0 each head is linear in the input. If the
    weight of a goal is positive, its log-odds start from the re-ranker's own score, the last column of the input.

    Attributes:
        names: the event types, in the order of A.
        weights_A: float32, how much the probability of each counts in the value of an item.
        calibration_A2: float32, slope and bias of each goal's log-odds.
    """

    weights_A: Tensor
    calibration_A2: Tensor

    def __init__(
        self, goals: Mapping[str, float], width: int, num_experts: int = 1, hidden_dim: int = 0, dropout: float = 0.0
    ) -> None:
        """Initialises heads that give a goal the re-ranker's own score as log-odds, or 0.

        Args:
            goals: how much each event type counts.
            width: W, of the input.
            num_experts: E, of the mixture.
            hidden_dim: H; 0 leaves the experts out.
        """
        super().__init__()
        self.names = tuple(goals)
        self.num_experts, dim = num_experts, hidden_dim or width
        self.experts: nn.Module = nn.Identity()
        if hidden_dim:
            self.experts = nn.Sequential(nn.Linear(width, num_experts * dim), nn.GELU(), nn.Dropout(dropout))
        self.gates = nn.Linear(width, len(goals) * num_experts) if num_experts > 1 else None
        self.heads_AH = nn.Parameter(torch.zeros(len(goals), dim))
        self.bias_A = nn.Parameter(torch.zeros(len(goals)))
        self.of_score_A = nn.Parameter(torch.tensor([float(weight > 0) for weight in goals.values()]))
        self.register_buffer("weights_A", torch.tensor(list(goals.values()), dtype=torch.float32), persistent=False)
        self.register_buffer("calibration_A2", torch.tensor([UNFITTED] * len(goals)))

    def uncalibrated(self, x_BKW: Tensor) -> Tensor:
        """Log-odds before calibration, float32 [B, K, A]."""
        mixed_BKEH = self.experts(x_BKW).unflatten(-1, (self.num_experts, -1))
        if self.gates is not None:
            gates_BKAE = self.gates(x_BKW).unflatten(-1, (len(self.names), self.num_experts)).softmax(-1)
            mixed_BKEH = gates_BKAE @ mixed_BKEH  # [B, K, A, H]
        return (mixed_BKEH * self.heads_AH).sum(-1) + self.of_score_A * x_BKW[..., -1:] + self.bias_A

    def forward(self, x_BKW: Tensor) -> Tensor:
        """The probability of each goal, float32 [B, K, A]."""
        slope_A, bias_A = self.calibration_A2.unbind(-1)
        return (slope_A * self.uncalibrated(x_BKW) + bias_A).sigmoid()

    def value(self, x_BKW: Tensor, weights_BA: Tensor | None = None) -> Tensor:
        """The value of each candidate, float32 [B, K]: the sum over the goals of weight times probability.

        Args:
            weights_BA: float32, the weights of each query; None takes `weights_A` for all.
        """
        if weights_BA is None:
            return self(x_BKW) @ self.weights_A
        return (self(x_BKW) * weights_BA[:, None]).sum(-1)

"""The deep part of the re-ranker: DCN-v2 over signals, vectors, item features and context.

Shape legend: B queries, K candidates, D dimension of the towers, F signals, W width of the cross network.
"""

import torch
from torch import Tensor, nn

from towers.model.feature_embedding import FeatureEmbedding
from towers.model.layers import zeroed
from towers.model.two_tower import TowerInputs
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.config import RerankConfig
from towers.reranking.cross_network import CrossNetwork


class DeepPart(nn.Module):
    """DCN-v2, stacked (Wang et al. 2021, fig. 1): a cross network, then a perceptron, whose output starts at zero.

    Attributes:
        width: W.
        alignment_DD: float32, the orthogonal map from the towers' vectors to those that this part was fitted to
            (towers/reranking/carry.py); None where they are the same.
    """

    alignment_DD: Tensor | None

    def __init__(
        self,
        config: RerankConfig,
        num_signals: int,
        num_values: int,
        dim: int,
        items: TowerInputs,
        is_carried: bool = False,
    ) -> None:
        super().__init__()
        self.item_features = FeatureEmbedding(items.encoder, items.encoded, config.feature_dim)
        self.context = nn.Embedding(num_values, config.feature_dim, padding_idx=0) if num_values > 1 else None
        num_embedded = self.item_features.has_features + (self.context is not None)
        width = 3 * dim + num_signals + config.feature_dim * num_embedded
        self.scale = dim**0.5  # brings the entries of unit vectors to the size of the signals
        self.width = width
        self.cross = CrossNetwork(width, config.num_cross, config.cross_rank)
        first, last = nn.Linear(width, config.hidden_dim), zeroed(nn.Linear(config.hidden_dim, 1))
        self.perceptron = nn.Sequential(first, nn.GELU(), nn.Dropout(config.dropout), last)
        self.register_buffer("alignment_DD", torch.eye(dim) if is_carried else None)

    def forward(self, crossed_BKW: Tensor) -> Tensor:
        """What `crossed` returns -> what is added to the linear score, float32 [B, K]."""
        return self.perceptron(crossed_BKW)[..., 0]

    def crossed(self, lists: CandidateLists, item_BKD: Tensor, signals_BKF: Tensor) -> Tensor:
        """Candidates, their item vectors and their signals -> the output of the cross network, float32 [B, K, W]."""
        rows_BK, user_BD = lists.rows_BK, lists.user_BD
        if self.alignment_DD is not None:
            user_BD, item_BKD = user_BD @ self.alignment_DD, item_BKD @ self.alignment_DD
        user_BKD, item_BKD = (self.scale * user_BD)[:, None].expand_as(item_BKD), self.scale * item_BKD
        parts = [user_BKD, item_BKD, user_BKD * item_BKD, signals_BKF]
        if self.item_features.has_features:
            parts.append(self.item_features(rows_BK.flatten()).view(*rows_BK.shape, -1))
        if self.context is not None:
            parts.append(self.context(lists.context_BC).sum(1)[:, None].expand(*rows_BK.shape, -1))
        return self.cross(torch.cat(parts, dim=-1))

"""One layer of the transformer: causal self-attention and a perceptron, both residual and gated.

Shape legend: B batch, L history length, D dimension, N attention heads, H dimension of a head.
"""

from torch import Tensor, nn
from torch.nn import functional

from towers.model.history.dropout import Dropout
from towers.model.history.rotary import rotated
from towers.model.history.time_bias import TimeBias


class AttentionBlock(nn.Module):
    """Causal attention, then a two-layer perceptron of the same width.

    Both are residual, and what they add is gated by their normalised input, much as in LiGR (Borisyuk et al. 2025,
    "From Features to Transformers"). Dropout applies to what each adds, and not to the attention weights: there are L
    weights per position, and dropping them rules out fused attention (on CPUs it took half of a step's time).
    """

    def __init__(self, embedding_dim: int, num_heads: int, dropout: float, has_time_bias: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(embedding_dim)
        self.query_key_value_gate = nn.Linear(embedding_dim, 4 * embedding_dim)
        self.out = nn.Linear(embedding_dim, embedding_dim)
        self.perceptron_norm = nn.LayerNorm(embedding_dim)
        self.hidden_gate = nn.Linear(embedding_dim, 2 * embedding_dim)
        self.last = nn.Linear(embedding_dim, embedding_dim)
        self.dropout = Dropout(dropout)
        self.time_bias = TimeBias(num_heads) if has_time_bias else None

    def forward(self, x_BLD: Tensor, cosine_LH: Tensor, sine_LH: Tensor, bucket_BLL: Tensor | None = None) -> Tensor:
        """float32 [B, L, D], the same shape out.

        Args:
            cosine_LH, sine_LH: those of `rotation`, or with a batch dimension those of `rotation_with_time`.
            bucket_BLL: int64, those of `gap_buckets`, for a block with a time bias.
        """
        bias_BNLL = None if self.time_bias is None else self.time_bias(bucket_BLL)
        x_BLD = x_BLD + self._attention(self.attention_norm(x_BLD), cosine_LH, sine_LH, bias_BNLL)
        return x_BLD + self._perceptron(self.perceptron_norm(x_BLD))

    def _attention(self, x_BLD: Tensor, cosine_LH: Tensor, sine_LH: Tensor, bias_BNLL: Tensor | None) -> Tensor:
        dim = x_BLD.shape[-1]
        heads, gate_BLD = self.query_key_value_gate(x_BLD).split([3 * dim, dim], dim=-1)
        query_BNLH, key_BNLH, value_BNLH = heads.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        attended_BNLH = functional.scaled_dot_product_attention(
            rotated(query_BNLH, cosine_LH, sine_LH),
            rotated(key_BNLH, cosine_LH, sine_LH),
            value_BNLH,
            attn_mask=bias_BNLL,
            is_causal=bias_BNLL is None,
        )
        return self.dropout(self.out(attended_BNLH.transpose(1, 2).flatten(-2))) * gate_BLD.sigmoid()

    def _perceptron(self, x_BLD: Tensor) -> Tensor:
        hidden_BLD, gate_BLD = self.hidden_gate(x_BLD).chunk(2, dim=-1)
        return self.dropout(self.last(self.dropout(functional.gelu(hidden_BLD)))) * gate_BLD.sigmoid()

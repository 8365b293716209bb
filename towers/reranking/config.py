"""Configuration of the re-ranker."""

from dataclasses import dataclass

from data.artifacts.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class RerankConfig:
    """The re-ranker and how it is fitted.

    Attributes:
        num_cross: number of layers of the cross network; 0 leaves it out.
        cross_rank: rank of the weight matrices of the cross network.
        hidden_dim: width of the perceptron that follows the cross network; 0 leaves only the linear part, and needs
            num_cross 0 too.
        feature_dim: dimension of the embedded item features.
        dropout: share of entries dropped inside the perceptron.
        epochs: maximum number of epochs; the one that is best on the held-out queries is kept.
        batch_size: queries per step.
        learning_rate: learning rate of Adam.
        weight_decay: weight decay of Adam.
        max_queries: maximum number of queries (held-out interactions) to fit on; they are drawn at random.
        held_out: share of the users whose queries the weights are not fitted on: one half of these users chooses the
            epoch, the other half calibrates the scores.
    """

    num_cross: int = 2
    cross_rank: int = 32
    hidden_dim: int = 64
    feature_dim: int = 16
    dropout: float = 0.1
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.001
    weight_decay: float = 1e-5
    max_queries: int = 20_000
    held_out: float = 0.2

    def __post_init__(self) -> None:
        for name in ("num_cross", "hidden_dim", "epochs", "dropout", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"rerank.{name}: {getattr(self, name)} must be at least 0")
        for name in ("cross_rank", "feature_dim", "batch_size", "max_queries"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rerank.{name}: {getattr(self, name)} must be at least 1")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"rerank.held_out: {self.held_out} must lie in (0, 1)")
        if self.num_cross and not self.hidden_dim:
            raise ConfigError(f"rerank.num_cross: {self.num_cross} needs a perceptron; set rerank.hidden_dim above 0")

"""Configuration of the re-ranker."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds
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
        max_queries: maximum number of queries (users, in each context that they came with) to fit on, drawn at random.
        held_out: share of the users whose queries the weights are not fitted on: one half of these users chooses the
            epoch, the other half calibrates the scores.
        goals: event types by how much the probability of each counts in the value of an item, such as {click: 1,
            purchase: 5, hide: -2}: items are ordered by their value. Without goals they are ordered by the probability
            that the user takes them.
        experts: number of parts that all goals share and mix differently (MMoE); with one they share one part.
    """

    num_cross: int = bounded(2, at_least=0)
    cross_rank: int = bounded(32, at_least=1)
    hidden_dim: int = bounded(64, at_least=0)
    feature_dim: int = bounded(16, at_least=1)
    dropout: float = bounded(0.1, at_least=0, below=1)
    epochs: int = bounded(10, at_least=0)
    batch_size: int = bounded(64, at_least=1)
    learning_rate: float = bounded(0.001, above=0, at_most=1e30)
    weight_decay: float = bounded(1e-5, at_least=0, at_most=1e6)
    max_queries: int = bounded(20_000, at_least=1)
    held_out: float = bounded(0.2, above=0, below=1)
    goals: dict[str, float] = bounded(factory=dict, at_least=-1e6, at_most=1e6)
    experts: int = bounded(1, at_least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "rerank")
        if self.num_cross and not self.hidden_dim:
            raise ConfigError(f"rerank.num_cross: {self.num_cross} needs a perceptron; set rerank.hidden_dim above 0")
        if self.experts > 1 and not (self.hidden_dim and self.goals):
            raise ConfigError(f"rerank.experts: {self.experts} need rerank.goals, and rerank.hidden_dim above 0")
        if self.goals and not any(self.goals.values()):
            raise ConfigError(
                "rerank.goals: all weights are 0, which orders nothing; leave rerank.goals empty for that"
            )

"""What a training job is: its settings, and what travels to its workers."""

from dataclasses import dataclass
from typing import Any, Protocol

import ray

from data.dataset.preparation import DataConfig
from towers.evaluation.config import EvaluateConfig
from towers.model.config import ModelConfig
from towers.reranking.reranker import RerankConfig
from towers.sweeps.trial import Trial
from towers.training.config import TrainConfig
from towers.training.losses import LossConfig
from towers.training.tracking import TrackingConfig


class Recipe(Protocol):
    """What decides a training, as the root config holds it."""

    @property
    def seed(self) -> int: ...
    @property
    def data(self) -> DataConfig: ...
    @property
    def model(self) -> ModelConfig: ...
    @property
    def loss(self) -> LossConfig: ...
    @property
    def train(self) -> TrainConfig: ...
    @property
    def rerank(self) -> RerankConfig: ...
    @property
    def evaluate(self) -> EvaluateConfig: ...
    @property
    def tracking(self) -> TrackingConfig: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to know, as it travels to it.

    Attributes:
        resolved: the root config as JSON values, for tracking.
        trial: of a sweep that this is; None outside of one.
        large: object reference to (sides, start or None, suggestions or None, sequences, counts_I, validation queries
            or None), which are shared memory on a node.
    """

    name: str
    seed: int
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    tracking: TrackingConfig
    resolved: dict[str, Any]
    trial: Trial | None
    large: ray.ObjectRef

"""Configuration of training, and a check of the parts of the configuration that depend on each other."""

from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.errors import ConfigError
from towers.model.build import FittedSplits
from towers.model.config import ModelConfig
from towers.training.losses import LOSSES
from towers.training.losses.config import LossConfig

IN_MEMORY_ROWS = 200_000_000
"""Largest number of rows (12 bytes each) of a shard that a worker holds in memory; larger shards are streamed."""

PLACEMENT = ("cpus_per_worker", "gpus_per_worker", "labels", "threads", "max_failures")
"""Settings that decide where training runs and how fast. A run's name does not depend on them."""


class Precision(Enum):
    """Number format that the towers compute in; weights, losses and optimizers are always in float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Schedule(Enum):
    """How the learning rate changes over a run."""

    constant = "constant"
    linear = "linear"  # down to a fiftieth at the last step


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """How the towers are fitted.

    Attributes:
        epochs: maximum number of epochs.
        patience: stop after this many epochs without a better `monitor` on validation; 0 never stops early.
        monitor: validation metric that decides the best epoch (recall, ndcg, mrr or hit_rate at one of evaluate.ks).
        batch_size: positives (with a transformer: windows of history) per step, over all workers.
        learning_rate: learning rate of Adam, and of row-wise Adam for the tables of ids and of feature values.
        weight_decay: weight decay of all weights except the tables of ids and of feature values.
        schedule: how the learning rate changes over all `epochs`.
        suggested: share of the positives that are replaced by recommendations of the item-item filter
            (towers/training/suggested.py).
        fit_on: splits that the towers are fitted on.
        precision: number format of the towers; bfloat16 is for GPUs.
        compile: compile perceptrons and transformer blocks with torch.compile; takes a minute, worth it on GPUs.
        num_workers: processes that train together.
        use_gpu: each worker computes on a GPU.
        cpus_per_worker: CPUs that Ray Train reserves for each worker.
        gpus_per_worker: GPUs that Ray Train reserves for each worker if use_gpu is set; with a fraction, the trainings
            of a sweep share a GPU.
        labels: labels of the nodes where workers may run, such as {role: trainer} of cluster.yaml.
        threads: torch threads per worker; null divides the machine's cores among the workers, or in a sweep means
            cpus_per_worker.
        max_failures: number of times that Ray Train restarts from the latest epoch after a worker has failed, before it
            gives up.
    """

    epochs: int = 20
    patience: int = 3
    monitor: str = "ndcg@20"
    batch_size: int = 1024
    learning_rate: float = 0.002
    weight_decay: float = 0.0
    schedule: Schedule = Schedule.constant
    suggested: float = 0.0
    fit_on: FittedSplits = FittedSplits.train
    precision: Precision = Precision.float32
    compile: bool = False
    num_workers: int = 1
    use_gpu: bool = False
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 1.0
    labels: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    max_failures: int = 2

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "num_workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}: {getattr(self, name)} must be at least 1")
        if self.batch_size % self.num_workers:
            raise ConfigError(
                f"train.batch_size: {self.batch_size} must be a multiple of num_workers ({self.num_workers})"
            )
        if not 0 < self.gpus_per_worker <= 1:
            raise ConfigError(
                f"train.gpus_per_worker: {self.gpus_per_worker} must be above 0 and at most 1: a worker computes on one"
                " GPU; use_gpu=false takes none, num_workers takes more"
            )
        if self.gpus_per_worker < 1 < self.num_workers:
            raise ConfigError(
                f"train.gpus_per_worker: {self.gpus_per_worker} would have the {self.num_workers} workers share a"
                " GPU, which NCCL refuses; set gpus_per_worker=1 or num_workers=1"
            )
        if not self.learning_rate > 0:
            raise ConfigError(f"train.learning_rate: {self.learning_rate} must be above 0")
        if not 0 <= self.suggested < 1:
            raise ConfigError(f"train.suggested: {self.suggested} must lie in [0, 1)")

    def resources(self) -> dict[str, float]:
        """What Ray Train reserves for each worker, by the names of Ray's resources."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": self.gpus_per_worker} if self.use_gpu else {})


def check(model: ModelConfig, loss: LossConfig, train: TrainConfig) -> None:
    """Checks the configurations of model, loss and training against each other.

    Raises:
        ConfigError: they do not go together.
    """
    if not model.history_encoder.trains_on_all_positions:
        return
    if train.suggested:
        raise ConfigError(
            f"train.suggested: {train.suggested} is for positives without an order, and model.history={model.history}"
            " trains on whole histories; set train.suggested=0"
        )
    if not LOSSES[loss.kind].supports_all_positions:
        raise ConfigError(
            f"loss.kind: model.history={model.history} has a positive at each position of a history, which {loss.kind}"
            " does not support; set loss.kind=softmax"
        )
    if loss.in_batch and not loss.full:
        raise ConfigError(
            f"loss.in_batch: model.history={model.history} trains on thousands of positions at once; set"
            " loss.in_batch=false"
        )

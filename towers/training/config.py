"""What a training job is: its settings, and what travels to its workers."""

from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.errors import ConfigError
from towers.model.build import FitOn
from towers.model.config import HistoryKind, ModelConfig
from towers.training.losses import LossConfig, LossKind

IN_MEMORY_ROWS = 200_000_000
"""Shards up to this many rows (12 bytes each) are held in a worker's memory; larger ones stream."""

PLACEMENT = ("cpus_per_worker", "gpus_per_worker", "labels", "threads", "max_failures")
"""Settings that say where training runs and how fast, not what comes out."""


class Precision(Enum):
    """What the towers compute in; weights, losses and optimizers stay in float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Schedule(Enum):
    """The learning rate over a run."""

    constant = "constant"
    linear = "linear"  # down to a fiftieth at the last step


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """How the towers are fitted.

    Attributes:
        epochs: at most.
        patience: stop after this many epochs without a better `monitor` on validation; 0 never stops early.
        monitor: validation metric that picks the best epoch (recall, ndcg, mrr or hit_rate at one of evaluate.ks).
        batch_size: positives (with a transformer: windows of history) per step over all workers.
        learning_rate: of Adam, and of its row-wise kind for the id tables.
        weight_decay: of all but the id tables.
        schedule: of the learning rate over all `epochs`.
        suggested: share of the positives that make way for what the item-item filter suggests (towers/training/suggested.py).
        fit_on: splits trained on.
        precision: of the towers; bfloat16 is for GPUs.
        compile: compile perceptrons and transformer blocks with torch.compile; takes a minute, and pays on GPUs.
        num_workers, use_gpu, cpus_per_worker: what Ray Train reserves.
        gpus_per_worker: where use_gpu is set; with a part of one, a sweep's trainings share a GPU.
        labels: of the nodes where workers may run, such as {role: trainer} of cluster.yaml.
        threads: torch threads per worker; null shares the machine's cores, or in a sweep takes cpus_per_worker.
        max_failures: worker failures that Ray Train restarts from before it gives up.
    """

    epochs: int = 20
    patience: int = 3
    monitor: str = "ndcg@20"
    batch_size: int = 1024
    learning_rate: float = 0.002
    weight_decay: float = 0.0
    schedule: Schedule = Schedule.constant
    suggested: float = 0.0
    fit_on: FitOn = FitOn.train
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
        return {"CPU": self.cpus_per_worker} | ({"GPU": self.gpus_per_worker} if self.use_gpu else {})


def check(model: ModelConfig, loss: LossConfig, train: TrainConfig) -> None:
    """Refuses what does not go together."""
    if model.history is not HistoryKind.transformer:
        return
    if train.suggested:
        raise ConfigError(
            f"train.suggested: {train.suggested} is for positives without an order, and model.history=transformer"
            " trains on whole histories; set train.suggested=0"
        )
    if loss.kind is LossKind.bpr:
        raise ConfigError(
            "loss.kind: model.history=transformer needs many negatives, and bpr has one; set loss.kind=softmax"
        )
    if loss.in_batch and not loss.full:
        raise ConfigError(
            "loss.in_batch: model.history=transformer trains on thousands of positions at once; set loss.in_batch=false"
        )

"""Configuration of training, and a check of the parts of the configuration that depend on each other."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.dataset.config import DataConfig
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.metrics import ACCURACY, METRICS
from towers.model.config import FittedSplits, ModelConfig
from towers.reranking.config import RerankConfig
from towers.training.losses import LOSSES
from towers.training.losses.config import LossConfig
from towers.training.tracking import TrackingConfig

PLACEMENT = ("cpus_per_worker", "gpus_per_worker", "labels", "threads", "max_failures")
"""Settings that decide where training runs and how fast. A run's name does not depend on them.

Where the rows of tables are divided among the workers, `num_workers` is one of them: a training that was saved by some
workers goes on with another number of them.
"""


SUMMARY_KEYS = (
    "checkpoint", "training", "cost", "split", "num_queries", "k", "metrics", "reranked", "floors", "intervals", "lift",
    "calibration", "goals", "ahead", "slices", "shown", "notes", "peers",
)  # fmt: skip
"""Keys of what `towers.train` returns."""


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
        stop_after: end after so many of the `epochs`; the learning rate falls as if all of them came. Null runs all.
            What a search has found ends after its best epoch by it.
        patience: stop after this many epochs without a better `monitor` on validation; 0 never stops early.
        monitor: validation metric that decides the best epoch (recall, ndcg, mrr or hit_rate at one of evaluate.ks).
            By nDCG at its cut-off, the validation part decides how items and users without training data are placed,
            and what is popular.
        validation_users: number of users of the validation part by whom epochs are compared, the re-ranker is fitted
            and the placement of new users is decided, drawn at random where it has more; null takes all.
        batch_size: positives (with a transformer: windows of history) per step, over all workers.
        learning_rate: learning rate of Adam, and of row-wise Adam for the tables of ids and of feature values.
        weight_decay: weight decay of all weights except the tables of ids and of feature values.
        schedule: how the learning rate changes over all `epochs`.
        suggested: share of the positives that are replaced by recommendations of the item-item filter
            (towers/training/suggested.py).
        fit_on: splits that the towers are fitted on: `train` to choose and measure, `all` for what goes live (see
            FittedSplits).
        start_from: folder of a checkpoint whose weights the towers start with; its ids and feature values may be fewer.
            Null starts fresh. What it has learned must not be among what is measured: nothing as new as the validation
            part or, where no moment divides the parts, the same parts (towers/training/start.py).
        precision: number format of the towers; bfloat16 is for GPUs.
        compile: compile perceptrons and transformer blocks with torch.compile; takes a minute, worth it on GPUs.
        in_memory_rows: largest number of interactions that a worker holds in memory, with their histories (some 40
            bytes each); the explicit negatives that the towers learn from are counted too. If its share has more, it
            streams them (data/sequences/streaming.py), with some 16 million of them in memory at a time; 0 streams
            always.
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

    epochs: int = bounded(20, at_least=1)
    stop_after: int | None = bounded(None, at_least=1)
    patience: int = bounded(3, at_least=0)
    monitor: str = "ndcg@20"
    validation_users: int | None = bounded(None, at_least=1)
    batch_size: int = bounded(1024, at_least=1)
    learning_rate: float = bounded(0.002, above=0, at_most=1e30)
    weight_decay: float = bounded(0.0, at_least=0, at_most=1e6)
    schedule: Schedule = Schedule.constant
    suggested: float = bounded(0.0, at_least=0, below=1)
    fit_on: FittedSplits = FittedSplits.train
    start_from: str | None = None
    precision: Precision = Precision.float32
    compile: bool = False
    in_memory_rows: int = bounded(200_000_000, at_least=0, below=2**63)
    num_workers: int = bounded(1, at_least=1)
    use_gpu: bool = False
    cpus_per_worker: float = bounded(1.0, at_least=0)
    gpus_per_worker: float = bounded(1.0, above=0, at_most=1)
    labels: dict[str, str] = field(default_factory=dict)
    threads: int | None = bounded(None, at_least=1, at_most=4096)
    max_failures: int = bounded(2, at_least=-1)

    def __post_init__(self) -> None:
        check_bounds(self, "train")
        if self.stop_after is not None and self.stop_after > self.epochs:
            raise ConfigError(
                f"train.stop_after: {self.stop_after} is more than train.epochs ({self.epochs}); set it to at most"
                f" {self.epochs}, or to null, which runs all of them"
            )
        if self.batch_size % self.num_workers:
            raise ConfigError(
                f"train.batch_size: {self.batch_size} must be a multiple of num_workers ({self.num_workers})"
            )
        if self.gpus_per_worker < 1 < self.num_workers:
            raise ConfigError(
                f"train.gpus_per_worker: {self.gpus_per_worker} would have the {self.num_workers} workers share a"
                " GPU, which NCCL refuses; set gpus_per_worker=1 or num_workers=1"
            )

    def resources(self) -> dict[str, float]:
        """What Ray Train reserves for each worker, by the names of Ray's resources."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": self.gpus_per_worker} if self.use_gpu else {})

    @property
    def num_epochs(self) -> int:
        """The most epochs that are run; `train.patience` may end a training before."""
        return self.epochs if self.stop_after is None else self.stop_after

    @property
    def monitored_at(self) -> int:
        """The cut-off of `monitor`."""
        return int(self.monitor.rpartition("@")[2])


def check(model: ModelConfig, loss: LossConfig, train: TrainConfig) -> None:
    """Checks the configurations of model, loss and training against each other.

    Raises:
        ConfigError: they do not go together.
    """
    model.check_history()
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


class Recipe(Protocol):
    """The parts of the root configuration that decide a training; the root configuration satisfies it."""

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


def check_recipe(config: Recipe) -> None:
    """Checks all parts of a training's configuration against each other.

    Raises:
        ConfigError: they do not go together, or `train.monitor` is not measured.
    """
    check(config.model, config.loss, config.train)
    check_monitor(config.train, config.evaluate)


def check_monitor(train: TrainConfig, evaluate: EvaluateConfig) -> None:
    """Raises ConfigError if the epochs are to be compared by a metric that is not measured after each."""
    measured = [f"{metric}@{k}" for metric in ACCURACY for k in sorted(set(evaluate.ks))]
    if train.fit_on is FittedSplits.train and train.monitor not in measured:
        raise ConfigError(
            f"train.monitor: {train.monitor!r} is not measured; it must be one of {', '.join(measured)} (a cut-off must"
            " be among evaluate.ks)"
        )


def unmeasured(path: str, config: Recipe) -> str | None:
    """Why a training returns no number at this dotted path of its summary; None where it may.

    Args:
        path: such as training.best_value or cost.size_mib.
    """
    head, _, rest = path.partition(".")
    if path == "training.best_value" and config.train.fit_on is not FittedSplits.train:
        return f"train.fit_on={config.train.fit_on.value} leaves no validation part to measure it on"
    if head in ("metrics", "reranked"):
        metric, _, k = rest.partition("@")
        if metric not in METRICS:
            return f"{metric!r} is no metric; known are {', '.join(METRICS)}"
        if k not in {f"{each}" for each in config.evaluate.ks}:
            return f"{rest!r} is not measured: evaluate.ks has {', '.join(map(str, config.evaluate.ks))}"
    if head not in SUMMARY_KEYS or head == path == "training":
        return (
            "a training returns no such value; it may be training.best_value (on the validation part), cost.size_mib or"
            " metrics.ndcg@20 (on the test part, of which no number is unseen then)"
        )
    return None


def unreported(value: str, config: Recipe) -> str | None:
    """Why an epoch of a training reports no value of this name to a sweep; None where it does."""
    names = ["loss", "examples_per_s"]
    if config.train.fit_on is FittedSplits.train:
        names += [config.train.monitor, *(["recall@20"] if 20 in config.evaluate.ks else [])]
    return None if value in names else f"an epoch reports {', '.join(dict.fromkeys(names))}"

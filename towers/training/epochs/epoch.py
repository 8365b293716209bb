"""One epoch of a training worker: its steps, then validation, which keeps the best weights."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import ray.train
import torch
from torch import Tensor

from data.artifacts.errors import UserError
from data.cluster.code_digest import joint_code
from data.sequences.batches import ShardBatches
from data.sequences.streaming import StreamedBatches
from data.sequences.windows import WindowBatches
from towers.evaluation.queries import HeldOut
from towers.model.tie_order import TieOrder, tie_seed
from towers.model.two_tower import TwoTower
from towers.training.config import Schedule
from towers.training.distributed import sum_over_workers, world_size
from towers.training.epochs.finite import NotFinite, cure
from towers.training.epochs.validation import places_any, validation_metrics
from towers.training.job import Job
from towers.training.loop import Objective, train_epoch
from towers.training.optimizer import Optimizers, linear_decay
from towers.training.progress import Progress
from towers.training.suggested import SuggestedPositives

Batches = ShardBatches | WindowBatches | StreamedBatches


@dataclass(slots=True)
class WorkerState:
    """The training of a worker while it runs.

    Attributes:
        counts_I: int64, interactions of each item in the splits that are fitted on.
        validation: the queries of the validation part; None where it is fitted on.
        best: weights of the best epoch so far; empty before the first.
    """

    job: Job
    model: TwoTower
    optimizers: Optimizers
    objective: Objective
    batches: Batches
    suggestions: SuggestedPositives | None
    counts_I: np.ndarray
    validation: HeldOut | None
    device: torch.device
    progress: Progress
    best: dict[str, Tensor]


def run_epoch(run: WorkerState) -> dict[str, float]:
    """Trains one epoch and validates; returns the values to report, by name.

    Raises:
        NotFinite: the loss, a weight or the validation metric is not finite; nothing of the epoch is to be saved.
    """
    epoch, rank = run.progress.epoch + 1, ray.train.get_context().get_world_rank()
    seed = np.random.SeedSequence([run.job.seed, epoch]).generate_state(1)[0].item()
    torch.manual_seed(seed + rank)
    generator = torch.Generator().manual_seed(seed)
    batches = run.batches.epoch(seed)
    if run.suggestions is not None:
        batches = run.suggestions.replace_positives(batches, np.random.default_rng([seed, rank]))
    started = time.perf_counter()
    steps = train_epoch(run.model, run.optimizers, run.objective, batches, generator, run.device, _rates(run))
    try:
        loss = _mean_loss(steps)
        seconds = time.perf_counter() - started
        examples = int(run.counts_I.sum())
        run.progress.code = run.job.code if epoch == 1 else joint_code(run.progress.code, run.job.code)
        run.progress.epoch = epoch
        run.progress.seconds += seconds
        run.progress.examples += examples
        return {"loss": loss, "examples_per_s": examples / seconds} | _validate(run)
    except NotFinite as e:
        raise NotFinite(f"epoch {epoch}, {e}: {cure(run.job.train, run.job.loss)}") from e


def _mean_loss(losses: Iterator[Tensor]) -> float:
    """The mean of an epoch's losses over steps and workers, which have different positives and equally many steps.

    The losses are added up where they are, on the device.

    Raises:
        UserError: there was no step, because this worker has no training examples.
    """
    total, steps = None, 0
    for loss in losses:
        total, steps = loss.double() if total is None else total + loss, steps + 1
    if total is None:
        raise UserError(
            "train.num_workers: a worker has nothing to train on. Each needs interactions, and with model.history="
            "transformer users with at least two; set fewer workers, or another model.history"
        )
    return sum_over_workers(total).item() / (steps * world_size())


def _rates(run: WorkerState) -> Iterator[float]:
    """Shares of the learning rate for the steps of this epoch; endless, because shards may differ in length."""
    settings = run.job.train
    steps = math.ceil(run.batches.num_examples() / settings.batch_size)
    done = ((run.progress.epoch * steps + step) / (settings.epochs * steps) for step in count())
    return (1.0 if settings.schedule is Schedule.constant else linear_decay(share) for share in done)


def _validate(run: WorkerState) -> dict[str, float]:
    """Measures the model on the validation part and keeps its weights if they are the best so far.

    They are kept too where the towers know none of its users, as of a log of sessions: then all epochs have the same
    value, and the first is not the best for that. All ranks have the same values, so that they stop at the same epoch.
    """
    progress, monitor, config = run.progress, run.job.train.monitor, run.job.evaluate
    if run.validation is None or not len(run.validation.user_rows_Q):
        progress.best_epoch, run.best = progress.epoch, _weights(run.model)
        return {}
    ties = TieOrder.of(len(run.counts_I), tie_seed(run.job.name))
    measured = validation_metrics(run.model, run.validation, run.counts_I, ties, list(config.ks), config.batch_size)
    value = measured[monitor]
    if not math.isfinite(value):
        raise NotFinite(f"validation: {monitor} is {value}, not a finite number")
    is_better = progress.best_value is None or value > progress.best_value
    if is_better or not places_any(run.model, run.validation, config.batch_size):
        progress.best_value, progress.best_epoch, run.best = value, progress.epoch, _weights(run.model)
    return {monitor: value} | {k: v for k, v in measured.items() if k in ("recall@20", monitor)}


def _weights(module: TwoTower) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}

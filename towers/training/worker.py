"""What each training worker runs: epochs over its shard, validation and a checkpoint after each."""

import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from ray.train.collective import broadcast_from_rank_zero
from torch import Tensor

from data.sequences.batches import ShardBatches
from data.sequences.histories import Sequences
from data.sequences.windows import WindowBatches
from towers.evaluation.measure import measure
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed, retrieve
from towers.model.build import build
from towers.model.config import HistoryKind
from towers.model.two_tower import TwoTower, all_item_vectors
from towers.training.config import IN_MEMORY_ROWS, Precision, Schedule
from towers.training.distributed import fewest
from towers.training.job import Job
from towers.training.loop import Objective, train_epoch
from towers.training.optimizer import Optimizers, linear
from towers.training.progress import Progress, load_progress, save_progress
from towers.training.suggested import Suggested
from towers.training.tracking import Tracker

Batches = ShardBatches | WindowBatches


@dataclass(slots=True)
class Run:
    """A worker's live training: model, optimizer, data and how far it has come."""

    job: Job
    model: TwoTower
    optimizers: Optimizers
    objective: Objective
    batches: Batches
    suggested: Suggested | None
    counts_I: np.ndarray
    validation: HeldOut | None
    device: torch.device
    progress: Progress
    best: dict[str, Tensor]


def train_worker(config: dict[str, Job]) -> None:
    """Ray Train's loop per worker. Every epoch ends in a report, with rank 0's checkpoint."""
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs every report to the root logger
    run = _start(config["job"])
    leading = ray.train.get_context().get_world_rank() == 0
    sweep = run.job.trial.sweep if run.job.trial is not None else None
    tracker = Tracker(run.job.tracking, run.job.name, run.job.resolved, group=sweep) if leading else None
    try:
        while not _finished(run):
            values = _epoch(run)
            if tracker is not None:
                tracker.log(values, step=run.progress.epoch)
                line = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
                sys.stdout.write(f"epoch {run.progress.epoch:3d}  {line}\n")  # Ray Train would show a print twice
                sys.stdout.flush()
            pruned = not _goes_on(run, values, leading)
            _report(run, values, leading, pruned)
            if pruned:
                break
    finally:
        if tracker is not None:
            tracker.finish()


def _start(job: Job) -> Run:
    (users, items), start, suggested, sequences, counts_I, validation = ray.get(job.large)
    torch.set_num_threads(job.train.threads or _share_of_cores(job))
    device = ray.train.torch.get_device()
    model = build(job.model, users, items, seed=job.seed).to(device)
    if start is not None:
        model.start_from(*start)
    optimizers = Optimizers(model, job.train.learning_rate, job.train.weight_decay)
    batches = _batches(job, sequences)
    objective = Objective(job.loss, counts_I, bfloat16=job.train.precision is Precision.bfloat16)
    if objective.bfloat16:
        torch.set_float32_matmul_precision("high")  # the loss's matrix products, on a GPU in TF32
    if job.train.compile:
        model.compile_parts()
    run = Run(
        job, model, optimizers, objective, batches, suggested, counts_I, validation, device, Progress(), {}
    )  # fmt: skip
    return _resume(run)


def _share_of_cores(job: Job) -> int:
    """The machine's cores, among this training's workers; other trials have theirs, too."""
    if job.trial is not None:
        return max(int(job.train.cpus_per_worker), 1)
    return max((os.cpu_count() or 1) // job.train.num_workers, 1)


def _batches(job: Job, sequences: Sequences) -> Batches:
    shard, batch_size = ray.train.get_dataset_shard("train"), job.train.batch_size // job.train.num_workers
    if job.model.history is HistoryKind.transformer:
        return WindowBatches(shard, sequences, batch_size, job.model.history_length, fewest)
    return ShardBatches(
        shard=shard,
        sequences=sequences,
        batch_size=batch_size,
        history_length=job.model.num_history,
        order=job.model.history_order,
        in_memory=len(sequences.items_N) <= IN_MEMORY_ROWS * job.train.num_workers,
    )


def _resume(run: Run) -> Run:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as path:
            restored = load_progress(Path(path), run.model, run.optimizers)
        if restored is not None:
            run.progress, run.best = restored
    return run


def _finished(run: Run) -> bool:
    done, settings = run.progress, run.job.train
    stale = done.epoch - done.best_epoch
    return done.epoch >= settings.epochs or (0 < settings.patience <= stale and run.validation is not None)


def _epoch(run: Run) -> dict[str, float]:
    """Trains one epoch, validates, and keeps the weights where they are the best so far."""
    epoch, rank = run.progress.epoch + 1, ray.train.get_context().get_world_rank()
    seed = np.random.SeedSequence([run.job.seed, epoch]).generate_state(1)[0].item()
    torch.manual_seed(seed + rank)
    generator = torch.Generator().manual_seed(seed)
    batches = run.batches.epoch(seed)
    if run.suggested:
        batches = run.suggested.among(batches, np.random.default_rng([seed, rank]))
    started = time.perf_counter()
    steps = train_epoch(run.model, run.optimizers, run.objective, batches, generator, run.device, _rates(run))
    losses = list(steps)
    seconds = time.perf_counter() - started
    examples = int(run.counts_I.sum())
    values = {"loss": float(np.mean(losses)), "examples_per_s": examples / seconds}
    run.progress.epoch = epoch
    run.progress.seconds += seconds
    run.progress.examples += examples
    return values | _validate(run, rank)


def _rates(run: Run) -> Iterator[float]:
    """Shares of the learning rate, step by step of this epoch, and on where a shard is longer than its share."""
    settings = run.job.train
    steps = math.ceil(run.batches.num_examples() / settings.batch_size)
    done = ((run.progress.epoch * steps + step) / (settings.epochs * steps) for step in count())
    return (1.0 if settings.schedule is Schedule.constant else linear(share) for share in done)


def _validate(run: Run, rank: int) -> dict[str, float]:
    """Full-catalogue metrics on rank 0 (the others wait at the report); all ranks agree on when to stop."""
    progress, monitor = run.progress, run.job.train.monitor
    if run.validation is None or not len(run.validation.user_rows_Q):
        progress.best_epoch, run.best = progress.epoch, _weights(run.model)
        return {}
    value, measured = 0.0, {}
    if rank == 0:
        counts_I, config = run.counts_I, run.job.evaluate
        queries = embed(run.model, run.validation, config.batch_size)
        found = retrieve(queries, run.validation, counts_I, all_item_vectors(run.model), config.batch_size)
        measured = measure(found, run.validation, len(counts_I), list(config.ks))
        value = measured[monitor]
    value = broadcast_from_rank_zero(value)
    if progress.best_value is None or value > progress.best_value:
        progress.best_value, progress.best_epoch, run.best = value, progress.epoch, _weights(run.model)
    return {monitor: value} | {k: v for k, v in measured.items() if k in ("recall@20", monitor)}


def _weights(module: TwoTower) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def _goes_on(run: Run, values: dict[str, float], leading: bool) -> bool:
    """Tells the sweep, if there is one, of an epoch; all ranks agree on what it says."""
    if run.job.trial is None:
        return True
    said = run.job.trial.goes_on(run.progress.epoch, values) if leading else True
    return bool(broadcast_from_rank_zero(said)) or _finished(run)


def _report(run: Run, values: dict[str, float], leading: bool, pruned: bool) -> None:
    done = run.progress
    totals = {
        "epoch": done.epoch,
        "seconds": done.seconds,
        "examples": done.examples,
        "best_epoch": done.best_epoch,
        "best_value": done.best_value,
        "pruned": int(pruned),
    }
    if not leading:
        ray.train.report(totals)
        return
    with tempfile.TemporaryDirectory() as path:
        save_progress(Path(path), run.progress, run.model, run.optimizers, run.best)
        ray.train.report({**totals, **values}, checkpoint=ray.train.Checkpoint.from_directory(path))

"""The loop of a training worker: epochs over its shard, each followed by validation and a saved state."""

import logging
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import ray
import ray.train
import ray.train.torch
import torch
from ray.train.collective import broadcast_from_rank_zero

from data.artifacts.folders import Folder
from data.cluster.code_digest import CODE
from data.cluster.ray_compatibility.train import experiment_folder, without_traceback_of_mistakes
from data.sequences.batches import Shard, ShardBatches
from data.sequences.buffers import Examples
from data.sequences.feedback import Feedback
from data.sequences.histories import Sequences
from data.sequences.streaming import StreamedBatches
from data.sequences.windows import WindowBatches
from towers.checkpoint.warm_start import OF_SMOOTHING
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.training.config import Precision
from towers.training.distributed import all_reduce_min, world_size
from towers.training.epochs.epoch import Batches, WorkerState, run_epoch
from towers.training.epochs.shards import load_shards, save_shard
from towers.training.job import Job, SharedInputs
from towers.training.loop import Objective
from towers.training.losses.config import SeenNegatives
from towers.training.optimizer import Optimizers
from towers.training.progress import Progress, load_progress, save_progress
from towers.training.tracking import Tracker, attempt_of


def train_worker(config: dict[str, Job]) -> None:
    """The function that Ray Train runs on each worker.

    Every epoch ends with a report to Ray Train; the report of rank 0 carries the saved state.
    """
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs every report to the root logger
    with without_traceback_of_mistakes():
        _train(_start(config["job"]))


def _train(run: WorkerState) -> None:
    """Trains until all epochs are done, or no better value was found for long enough, or the sweep ends the trial."""
    is_first = ray.train.get_context().get_world_rank() == 0
    sweep = run.job.trial.sweep if run.job.trial is not None else None
    job, attempt = run.job, attempt_of(run.job.tracking, run.progress.tracked, run.progress.epoch)
    tracker = Tracker(job.tracking, job.name, job.resolved, group=sweep, attempt=attempt) if is_first else None
    try:
        while not _is_finished(run):
            values = run_epoch(run)
            if tracker is not None:
                tracker.log(values, step=run.progress.epoch)
                line = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
                sys.stdout.write(f"epoch {run.progress.epoch:3d}  {line}\n")  # Ray Train would show a print twice
                sys.stdout.flush()
            is_pruned = not _should_continue(run, values, is_first)
            _report(run, values, is_first, is_pruned)
            if is_pruned:
                break
    finally:
        if tracker is not None:
            tracker.finish()


def _start(job: Job) -> WorkerState:
    """Builds model, optimizers and data, and resumes from the saved state where there is one."""
    shared: SharedInputs = ray.get(job.shared)
    torch.set_num_threads(job.train.threads or _default_threads(job))
    device = ray.train.torch.get_device()
    config = replace(job.model, smoothing=0.0) if job.model.divides_rows else job.model  # the driver smooths
    model = build_model(config, shared.users, shared.items, job.seed, shared.context, shared.event_types).to(device)
    if shared.id_tables is not None:
        model.set_id_tables(*shared.id_tables)
    if shared.start is not None:
        model.load_state_dict({n: w for n, w in shared.start.items() if n != OF_SMOOTHING or config.smoothing})
    optimizers = Optimizers(model, job.train.learning_rate, job.train.weight_decay)
    batches = _batches(job, shared)
    objective = Objective(job.loss, shared.counts_I, bfloat16=job.train.precision is Precision.bfloat16)
    if objective.bfloat16:
        torch.set_float32_matmul_precision("high")  # the loss's matrix products, on a GPU in TF32
    if job.train.compile:
        model.compile_parts()
    run = WorkerState(
        job=job,
        model=model,
        optimizers=optimizers,
        objective=objective,
        batches=batches,
        suggestions=shared.suggestions,
        counts_I=shared.counts_I,
        validation=shared.validation,
        device=device,
        progress=Progress(tracked=uuid4().hex[:8]),
        best={},
    )
    return _resume(run)


def _default_threads(job: Job) -> int:
    """Torch threads: the machine's cores divided among the workers, or in a sweep what is reserved for the worker."""
    if job.trial is not None:
        return max(int(job.train.cpus_per_worker), 1)
    return max((os.cpu_count() or 1) // job.train.num_workers, 1)


def _batches(job: Job, shared: SharedInputs) -> Batches:
    """This worker's training examples: windows of whole histories, or single interactions with their histories."""
    rank, num_workers = ray.train.get_context().get_world_rank(), job.train.num_workers
    size = job.train.batch_size // num_workers
    masks_own = job.loss.seen is SeenNegatives.mask
    if shared.streamed is not None:
        of_buffer = partial(_batches_of, job.model, size, masks_own)
        of, num_examples = shared.streamed, shared.num_examples
        return StreamedBatches(of, rank, num_workers, of_buffer, size, num_examples, of.buffer_rows)
    assert shared.sequences is not None and shared.feedback is not None, "what is not streamed is in memory"
    shard = ray.train.get_dataset_shard("train")
    return _batches_of(job.model, size, masks_own, shard, shared.sequences, shared.feedback)


def _batches_of(
    model: ModelConfig,
    batch_size: int,
    with_own_items: bool,
    shard: Shard | Examples,
    sequences: Sequences,
    feedback: Feedback,
) -> ShardBatches | WindowBatches:
    """The batches of a shard in memory; the arguments are those of `ShardBatches`."""
    if model.history_encoder.trains_on_all_positions:
        return WindowBatches(
            shard=shard,
            sequences=sequences,
            batch_size=batch_size,
            length=model.history_length,
            smallest_count=all_reduce_min,
            feedback=feedback,
            with_own_items=with_own_items,
            num_workers=world_size(),
        )
    return ShardBatches(
        shard=shard,
        sequences=sequences,
        batch_size=batch_size,
        history_length=model.num_history,
        order=model.history_order,
        feedback=feedback,
        with_own_items=with_own_items,
    )


def _resume(run: WorkerState) -> WorkerState:
    """Restores, in place, the state that an earlier attempt saved with Ray Train, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None and run.job.model.divides_rows:
        restored = load_shards(Folder(checkpoint.filesystem, checkpoint.path), run.model, run.optimizers)
        if restored is not None:
            run.progress, run.best = restored
    elif checkpoint is not None:
        with checkpoint.as_directory() as path:
            restored = load_progress(Path(path), run.model, run.optimizers)
        if restored is not None:
            run.progress, run.best = restored
    return run


def _is_finished(run: WorkerState) -> bool:
    """Whether all epochs are done, or no better validation value was found for `patience` epochs."""
    done, settings = run.progress, run.job.train
    num_worse = done.epoch - done.best_epoch
    return done.epoch >= run.job.epochs or (0 < settings.patience <= num_worse and run.validation is not None)


def _should_continue(run: WorkerState, values: dict[str, float], is_first: bool) -> bool:
    """Reports an epoch to the sweep, if there is one; returns, on all ranks, whether the training should go on.

    Of a fit whose values do not count, such as a backtest, the sweep learns that the trial does not hang.
    """
    if (trial := run.job.trial) is None:
        return True
    if not run.job.is_reported:
        if is_first:
            trial.report_alive()
        return True
    wanted = trial.report_epoch(run.progress.epoch, values) if is_first else True
    return bool(broadcast_from_rank_zero(wanted)) or _is_finished(run)


def _report(run: WorkerState, values: dict[str, float], is_first: bool, is_pruned: bool) -> None:
    """Reports an epoch to Ray Train; rank 0 adds the saved state, or each worker its part where tables are sharded."""
    done = run.progress
    totals = {
        "epoch": done.epoch,
        "seconds": done.seconds,
        "examples": done.examples,
        "best_epoch": done.best_epoch,
        "best_value": done.best_value,
        "pruned": int(is_pruned),
        CODE: done.code,
    }
    if run.job.model.divides_rows:
        folder = experiment_folder()
        place = ray.train.Checkpoint(folder.path, folder.filesystem)  # what is in it is written by _save_part
        reported = {**totals, **values} if is_first else totals
        ray.train.report(reported, checkpoint=place, checkpoint_upload_fn=partial(_save_part, run))
        return
    if not is_first:
        ray.train.report(totals)
        return
    with tempfile.TemporaryDirectory() as path:
        save_progress(Path(path), run.progress, run.model, run.optimizers, run.best)
        ray.train.report({**totals, **values}, checkpoint=ray.train.Checkpoint.from_directory(path))


def _save_part(run: WorkerState, experiment: ray.train.Checkpoint, name: str) -> ray.train.Checkpoint:
    """Writes this worker's part of the state into the experiment's folder `name`, which becomes a checkpoint."""
    folder = Folder(experiment.filesystem, experiment.path) / name
    save_shard(folder, run.progress, run.model, run.optimizers, run.best)
    return ray.train.Checkpoint(folder.path, folder.filesystem)

"""Sets up Ray Train for a training: the data, resources and storage of its workers."""

import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import ray.train
from ray.train.torch import TorchTrainer

from data.artifacts.folders import Folder
from data.cluster.ray_compatibility.train import in_placement_group, trainer_class
from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from data.sequences.feedback import Feedback
from data.sequences.histories import order_of
from data.sequences.positions import continue_positions
from towers.evaluation.queries import HeldOut
from towers.model.build import interaction_counts, split_counts
from towers.model.config import FittedSplits, IdTableStart
from towers.model.context import Context
from towers.model.spectral import spectral_start
from towers.model.two_tower import TowerInputs
from towers.sweeps.trial import reserved_placement_group
from towers.training.config import Recipe
from towers.training.epochs.streamed import explicit_negatives, is_streamed, num_examples, streamed_parts
from towers.training.job import Job, SharedInputs
from towers.training.stages.room import ReadTasks, read_tasks
from towers.training.start import starting_weights
from towers.training.suggested import SuggestedPositives, known_items
from towers.training.worker import train_worker

POLL = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
"""Environment variable and value in seconds: the interval at which Ray Train polls its workers.

A worker's report waits for the next poll, and Ray's default of 2 s is longer than a small epoch.
"""


def shared_inputs(
    dataset: PreparedDataset,
    users: TowerInputs,
    items: TowerInputs,
    config: Recipe,
    fit_on: FittedSplits,
    context: Context,
) -> ray.ObjectRef:
    """Puts the `SharedInputs` of a job into Ray's object store; returns the reference to them."""
    model, settings, seen_items = config.model, config.train, config.evaluate.seen
    beside, counts_I = model.history_columns, interaction_counts(dataset.items, fit_on)
    streams, sequences, id_tables, suggestions = is_streamed(dataset, settings, fit_on), None, None, None
    start = starting_weights(config, dataset, users, items, context)
    is_spectral = model.start is IdTableStart.spectral and start is None
    if not streams or is_spectral or settings.suggested:
        sequences = dataset.sequences(*fit_on.splits, beside=beside)
        if is_spectral:
            id_tables = spectral_start(sequences, len(counts_I), model.embedding_dim, config.seed)
        if settings.suggested:
            known = known_items(dataset, fit_on.splits)
            suggestions = SuggestedPositives.of(sequences, len(counts_I), settings.suggested, known)
    validation = None
    if fit_on is FittedSplits.train:
        validation = HeldOut.of(dataset, VALIDATION, seen_items, beside, settings.validation_users)
    return ray.put(
        SharedInputs(
            users=users,
            items=items,
            counts_I=counts_I,
            sequences=None if streams else sequences,
            feedback=None if streams else feedback_of(dataset, fit_on, context if model.context else None),
            context=context,
            event_types=dataset.event_type_names,
            id_tables=id_tables,
            start=start,
            suggestions=suggestions,
            validation=validation,
            streamed=streamed_parts(dataset, model, fit_on, context) if streams else None,
            num_examples=num_examples(dataset, model, fit_on),
        )
    )


def feedback_of(dataset: PreparedDataset, fit_on: FittedSplits, context: Context | None = None) -> Feedback:
    """Weights, explicit negatives and contexts of the interactions that are fitted on, which are read in parts.

    Args:
        context: the context features that the towers take; None means none.
    """
    context_NC = None
    if context is not None and len(context):
        parts = dataset.parts(*fit_on.splits, columns=["user_row", "context"])
        encoded = (context.encode(part["context"].combine_chunks())[order_of(part)] for part in parts)
        context_NC = np.concatenate([rows_NC.astype(np.int16) for rows_NC in encoded])
    return Feedback(_weights(dataset, fit_on), explicit_negatives(dataset, fit_on), context_NC)


def _weights(dataset: PreparedDataset, fit_on: FittedSplits) -> np.ndarray | None:
    """float32 [N]: how much each positive counts, in the order of `Sequences.items_N`; None where all count alike."""
    weights_N, end = np.empty(sum(dataset.manifest["counts"][split] for split in fit_on.splits), np.float32), 0
    for part in dataset.parts(*fit_on.splits, columns=["user_row", "weight"]):
        weights_N[end : end + len(part)] = part["weight"].to_numpy()[order_of(part)]
        end += len(part)
    return weights_N if end and weights_N.min() != weights_N.max() else None


def trainer(job: Job, dataset: PreparedDataset, storage: Folder) -> TorchTrainer:
    """The Ray Train trainer of a job, which resumes the job's saved epochs under `storage` where there are any."""
    settings = job.train
    streams = is_streamed(dataset, settings, job.fit_on)
    os.environ.setdefault(*POLL)
    group = reserved_placement_group([settings.resources()] * settings.num_workers)
    return trainer_class()(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.num_workers,
            use_gpu=settings.use_gpu,
            resources_per_worker=settings.resources(),
            label_selector=dict(settings.labels) or None,
        ),
        run_config=ray.train.RunConfig(
            name=job.name,
            storage_path=f"{storage.path}/training",
            storage_filesystem=storage.filesystem,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            callbacks=[] if group is None else [in_placement_group(group)],
        ),
        datasets=None if streams else {"train": _interactions(dataset, job.fit_on, read_tasks(settings))},
        dataset_config=ray.train.DataConfig(execution_options=_ordered()),
    )


def _num_earlier(dataset: PreparedDataset, fit_on: FittedSplits) -> tuple[np.ndarray, ...]:
    """For each split that is fitted on, int64 [U]: each user's number of interactions in the splits before it."""
    counts = [split_counts(dataset.users, split) for split in fit_on.splits]
    return tuple(np.sum(counts[:at], axis=0) if at else np.zeros_like(counts[0]) for at in range(len(counts)))


def _interactions(dataset: PreparedDataset, fit_on: FittedSplits, reading: ReadTasks) -> ray.data.Dataset:
    """The interactions to fit on; positions in a split continue after those in the splits before it.

    Args:
        reading: how they are read.
    """
    parts: list[ray.data.Dataset] = []
    for split, num_earlier_U in zip(fit_on.splits, _num_earlier(dataset, fit_on), strict=True):
        if paths := dataset.paths(split):
            part = _rows(dataset, paths, reading)
            if parts:
                continued = _continued(ray.put(num_earlier_U))
                part = part.map_batches(continued, batch_format="pyarrow", num_cpus=reading.num_cpus)
            parts.append(part)
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


def _rows(dataset: PreparedDataset, paths: list[str], reading: ReadTasks) -> ray.data.Dataset:
    """The interactions in these files, in their order.

    Ray Data's own reader has actors look at the files first, and these always want a CPU.
    """
    columns, filesystem = ["user_row", "item_row", "position"], dataset.folder.filesystem
    if reading.num_cpus is None:
        return ray.data.read_parquet(paths, filesystem=filesystem, columns=columns)
    files = ray.data.from_arrow([pa.table({"path": [path]}) for path in paths])
    return files.map_batches(
        lambda batch: pa.concat_tables(
            [pq.read_table(path.as_py(), filesystem=filesystem, columns=columns) for path in batch["path"]]
        ),
        batch_format="pyarrow",
        batch_size=None,
        num_cpus=reading.num_cpus,
        compute=ray.data.TaskPoolStrategy(size=reading.concurrency),
    )


def _continued(num_earlier_U: ray.ObjectRef) -> Callable[[pa.Table], pa.Table]:
    """A function that continues the positions of a batch after the users' interactions in earlier splits."""
    return lambda batch: continue_positions(batch, ray.get(num_earlier_U))


def _ordered() -> ray.data.ExecutionOptions:
    """Execution options that keep the order of blocks, so that a worker's shard is the same after a restart."""
    return ray.data.ExecutionOptions(preserve_order=True)

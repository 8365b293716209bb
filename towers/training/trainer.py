"""The Ray Train job: which shard, state and resources each worker gets, and how a lost one is found again."""

import os

import pyarrow as pa
import ray
import ray.data
import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2.api.config import LoggingConfig

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.dataset.schema import INTERACTIONS
from data.dataset.split import VALIDATION
from towers.evaluation.queries import HeldOut
from towers.model.build import FitOn, fit_counts, side
from towers.model.config import ModelConfig, Start
from towers.model.features import FeatureEncoder
from towers.model.spectral import spectral_start
from towers.model.two_tower import Side
from towers.sweeps.trial import InReservation, reserved
from towers.training.config import TrainConfig
from towers.training.job import Job
from towers.training.suggested import Suggested
from towers.training.worker import train_worker

POLL = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
"""A worker's report waits until Ray Train looks at it, every 2 s unless told otherwise: longer than a small epoch."""


class Trainer(TorchTrainer):
    """Leaves out Ray Train's watch over the workers' places, for drivers that outlive their trainer: ours ends with it,
    and a sweep frees its trials' places. (In a notebook the places of one that was killed are free once Ray ends.)

    The watch asks the dashboard, and ends 12 s after each training where there is none, or where it finds the address
    of a Ray that is gone (Ray 2.60).
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]


def sides(dataset: PreparedDataset, fit_on: FitOn) -> tuple[Side, Side]:
    """What the user tower and the item tower are built from."""
    users, items = (side(c, FeatureEncoder.fit(c), fit_on) for c in (dataset.users, dataset.items))
    return users, items


def large(dataset: PreparedDataset, model: ModelConfig, settings: TrainConfig, seed: int) -> ray.ObjectRef:
    """The shared part of a worker's Job, in the object store."""
    fit_on = settings.fit_on
    sequences = dataset.sequences(*fit_on.splits)
    validation = HeldOut.of(dataset, VALIDATION) if fit_on is FitOn.train else None
    counts_I, start, suggested = fit_counts(dataset.items, fit_on), None, None
    if model.start is Start.spectral:
        start = spectral_start(sequences, len(counts_I), model.embedding_dim, seed)
    if settings.suggested:
        suggested = Suggested.of(sequences, len(counts_I), settings.suggested)
    return ray.put((sides(dataset, fit_on), start, suggested, sequences, counts_I, validation))


def trainer(job: Job, dataset: PreparedDataset, storage: Folder) -> Trainer:
    """The trainer of a job; the same job finds its own earlier epochs under `storage`."""
    settings = job.train
    os.environ.setdefault(*POLL)
    group = reserved([settings.resources()] * settings.num_workers)
    return Trainer(
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
            logging_config=LoggingConfig(log_level="WARNING"),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            callbacks=[] if group is None else [InReservation(group)],
        ),
        datasets={"train": _interactions(dataset, settings.fit_on)},
        dataset_config=ray.train.DataConfig(execution_options=_ordered()),
    )


def _interactions(dataset: PreparedDataset, fit_on: FitOn) -> ray.data.Dataset:
    """The interactions to fit on; positions of validation rows count on from the user's train rows."""
    parts = [
        ray.data.read_parquet(
            dataset.paths(split), filesystem=dataset.folder.filesystem, columns=["user_row", "item_row", "position"]
        )
        for split in fit_on.splits
        if dataset.paths(split)
    ]
    if len(parts) == 1:
        return parts[0]
    before = ray.put(fit_counts(dataset.users, FitOn.train))

    def shift(batch: pa.Table) -> pa.Table:
        position = batch["position"].to_numpy() + ray.get(before)[batch["user_row"].to_numpy()]
        at = batch.column_names.index("position")
        return batch.set_column(at, INTERACTIONS.field("position"), pa.array(position, pa.int32()))

    return parts[0].union(parts[1].map_batches(shift, batch_format="pyarrow"))


def _ordered() -> ray.data.ExecutionOptions:
    """Blocks keep their order, so that a shard is the same one after a restart."""
    return ray.data.ExecutionOptions(preserve_order=True)

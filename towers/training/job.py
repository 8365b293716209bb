"""The description of a training: the configuration that decides it, and the inputs of each worker."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from torch import Tensor

from data.sequences.feedback import Feedback
from data.sequences.histories import Sequences
from data.sequences.streaming import StreamedParts
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.queries import HeldOut
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.model.two_tower import TowerInputs
from towers.sweeps.trial import Trial
from towers.training.config import TrainConfig
from towers.training.losses.config import LossConfig
from towers.training.suggested import SuggestedPositives
from towers.training.tracking import TrackingConfig


@dataclass(frozen=True, kw_only=True)
class SharedInputs:
    """The parts of the dataset that all workers of a job read: one copy on each node, in Ray's object store.

    Shape legend: U users, I items (row 0 of both = unknown), D dimension.

    Attributes:
        users, items: inputs of the two towers.
        counts_I: int64, interactions of each item in the splits that are fitted on.
        sequences: all users' items in those splits; None where they are streamed.
        feedback: what the interactions of those splits say besides their items; None likewise.
        context: the context features that the user tower takes.
        event_types: the names of the log's event types, in the order of their codes.
        id_tables: initial id embeddings, float32 [U, D] and [I, D]; None starts them at random.
        start: the towers' weights by name, where they start with those of a checkpoint.
        suggestions: suggested positives; None where `train.suggested` is 0.
        validation: the queries of the validation part; None where it is fitted on.
        streamed: the parts that workers stream; None where each loads its shard into memory.
        num_examples: number of training examples of an epoch, of all workers together.
    """

    users: TowerInputs
    items: TowerInputs
    counts_I: np.ndarray
    sequences: Sequences | None
    feedback: Feedback | None
    context: Context
    event_types: tuple[str, ...]
    id_tables: tuple[Tensor, Tensor] | None
    start: dict[str, Tensor] | None
    suggestions: SuggestedPositives | None
    validation: HeldOut | None
    streamed: StreamedParts | None
    num_examples: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """What each worker of a training is given.

    Attributes:
        name: the name of the training; a job of the same name resumes its saved epochs.
        code: digest of the code that trains, as manifests hold it.
        seed: decides initial weights, the order of examples, and negatives.
        fit_on: the splits that the towers are fitted on.
        epochs: the number of epochs to run; the schedule of the learning rate spans `train.epochs`.
        is_reported: whether the sweep, if there is one, is told the values of each epoch, or only that it has ended.
        resolved: the root configuration as JSON values, for tracking.
        trial: the trial of a sweep that this training is; None outside of a sweep.
        shared: reference to the `SharedInputs` in Ray's object store.
    """

    name: str
    code: str
    seed: int
    fit_on: FittedSplits
    epochs: int
    is_reported: bool
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    tracking: TrackingConfig
    resolved: dict[str, Any]
    trial: Trial | None
    shared: ray.ObjectRef

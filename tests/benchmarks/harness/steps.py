"""Our training loop on arrays in memory, without Ray around it."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from data.sequences.batches import TrainBatch
from towers.model.build import build_model, encode_catalogues, interaction_counts
from towers.model.config import IdTableStart
from towers.model.spectral import spectral_start
from towers.model.two_tower import TwoTower
from towers.training.config import Precision
from towers.training.loop import Objective, train_epoch
from towers.training.optimizer import Optimizers
from towers.training.suggested import SuggestedPositives

CPU = torch.device("cpu")


def in_memory(users: np.ndarray, items: np.ndarray, batch_size: int, seed: int = 0) -> Iterator[TrainBatch]:
    """One pass over a log in a new order; users are known by their ids alone."""
    order = np.random.default_rng(seed).permutation(len(users))
    for start in range(0, len(users), batch_size):
        rows = order[start : start + batch_size]
        yield TrainBatch(users[rows], items[rows], np.zeros((len(rows), 0), np.int32))


@dataclass
class Loop:
    """A model and all that trains it."""

    model: TwoTower
    optimizers: Optimizers
    objective: Objective
    generator: torch.Generator
    suggested: SuggestedPositives | None
    device: torch.device = CPU

    @classmethod
    def of(cls, dataset: PreparedDataset, config: Config, device: torch.device = CPU) -> "Loop":
        fit_on, seed = config.train.fit_on, config.seed
        counts_I, suggested = interaction_counts(dataset.items, fit_on), None
        sequences = dataset.sequences(*fit_on.splits)
        users, items = encode_catalogues(dataset.users, dataset.items, fit_on)
        model = build_model(config.model, users, items, seed=seed).to(device)
        if config.model.start is IdTableStart.spectral:
            model.set_id_tables(*spectral_start(sequences, len(counts_I), config.model.embedding_dim, seed))
        if config.train.suggested:
            suggested = SuggestedPositives.of(sequences, len(counts_I), config.train.suggested)
        optimizers = Optimizers(model, config.train.learning_rate, config.train.weight_decay)
        generator = torch.Generator().manual_seed(seed)
        objective = Objective(config.loss, counts_I, bfloat16=config.train.precision is Precision.bfloat16)
        if config.train.compile:
            model.compile_parts()
        return cls(model, optimizers, objective, generator, suggested, device)

    def train(self, batches: Iterable[TrainBatch], rates: Iterable[float] | None = None) -> float:
        """Trains on the batches; returns the seconds that it took."""
        return self.losses(batches, rates)[1]

    def losses(self, batches: Iterable[TrainBatch], rates: Iterable[float] | None = None) -> tuple[list[float], float]:
        """The same, with the loss of each batch."""
        started = time.perf_counter()
        rates = iter(lambda: 1.0, 0.0) if rates is None else rates
        steps = train_epoch(
            self.model, self.optimizers, self.objective, batches, self.generator, self.device, rates
        )  # fmt: skip
        return [loss.item() for loss in steps], time.perf_counter() - started

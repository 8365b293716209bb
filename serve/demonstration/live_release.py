"""From a log to a release that is live: preparation, training, evaluation, publishing and promotion."""

from typing import Protocol

from data.artifacts.folders import Folder, StorageConfig
from data.cluster.console import show
from data.dataset.preparation import prepare
from serve.demonstration.headings import Headings
from serve.deployment.settings import ServeConfig
from serve.index.config import IndexConfig
from serve.releases.gate.config import GateConfig
from serve.releases.gate.gate import Gatekeeper
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from serve.rollout.promotion import promote
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.presentation.published import published_beside
from towers.evaluation.presentation.tables import metrics_table
from towers.model.config import FittedSplits
from towers.training.config import Recipe
from towers.training.fit import train, with_fit_on
from towers.training.stages.measured_again import report_by
from towers.training.stages.measured_fit import has_validation


class DemonstratedConfig(Recipe, Protocol):
    """The parts of the root configuration that lead to a release."""

    @property
    def storage(self) -> StorageConfig: ...
    @property
    def index(self) -> IndexConfig: ...
    @property
    def gate(self) -> GateConfig: ...
    @property
    def serve(self) -> ServeConfig: ...


def fit_checkpoint(config: DemonstratedConfig, heading: Headings) -> Checkpoint:
    """Prepares the dataset, trains, evaluates, and fits on all interactions; returns the checkpoint."""
    storage = Folder.of(config.storage.root)
    heading("preparing the dataset with Ray Data")
    dataset = prepare(config.data, storage)
    heading("training both towers with Ray Train")
    checkpoint = train(config, dataset, storage)
    heading("evaluation on the full catalogue, beside its baselines")
    published = published_beside(config.evaluate, dataset.manifest)
    show(metrics_table(report_by(config.evaluate, checkpoint, dataset), checkpoint.name, published))
    if config.train.fit_on is FittedSplits.train and has_validation(config, dataset):
        heading("the final fit, on every interaction with the epochs found (train.fit_on=all), and its backtest")
        checkpoint = train(with_fit_on(config, FittedSplits.all), dataset, storage)
        show(metrics_table(report_by(config.evaluate, checkpoint, dataset), checkpoint.name, published))
    return checkpoint


def release(config: DemonstratedConfig, heading: Headings, checkpoint: Checkpoint) -> str:
    """Publishes the checkpoint as a release and promotes it; returns the id of the release."""
    storage = Folder.of(config.storage.root)
    heading("publishing item vectors to Milvus as a release")
    gatekeeper = Gatekeeper(config=config.gate, evaluate=config.evaluate, show=show)
    release_id = publish(config.index, checkpoint, storage, gatekeeper=gatekeeper)
    heading("promoting the release")
    promote(config.index, ReleaseRegistry.of(storage), release_id, config.serve.ready_within_s)
    return release_id

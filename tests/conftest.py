"""What several folders of tests share: one Ray session, and small artifacts built once by the real code."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "token")  # before anything imports Ray
os.environ.setdefault("WANDB_SILENT", "true")

import pytest

from conf.schema import Config, load
from conf.session import ClusterConfig, connect
from data.prepare import prepare
from data.prepared import PreparedDataset
from data.storage import Folder
from towers.checkpoint import Checkpoint
from towers.train import train

TINY = (
    "tracking=off",
    "data.source.num_users=300",
    "data.source.num_items=200",
    "data.source.num_clusters=10",
    "data.source.interactions_per_user=20",
    "model.embedding_dim=16",
    "train.epochs=4",
    "train.batch_size=256",
    "loss.num_uniform=64",
)
"""Overrides for a log that prepares and trains in seconds."""


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray with two CPUs, as the entry points start it."""
    import ray

    connect(ClusterConfig(num_cpus=2, dashboard=False))
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage root of the session's shared artifacts."""
    return tmp_path_factory.mktemp("var")


@pytest.fixture(scope="session")
def tiny(root: Path) -> Config:
    return load([*TINY, f"storage.root={root}"])


@pytest.fixture(scope="session")
def dataset(ray_session: None, tiny: Config) -> PreparedDataset:
    return prepare(tiny.data, Folder.of(tiny.storage.root))


@pytest.fixture(scope="session")
def checkpoint(tiny: Config, dataset: PreparedDataset) -> Checkpoint:
    """A checkpoint trained by Ray Train on the tiny log."""
    return train(tiny, dataset, Folder.of(tiny.storage.root))

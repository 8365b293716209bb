"""The typed root config: every field is declared beside the code that it configures, and gathered here."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.overrides import complaint, renamed
from data.artifacts.errors import ConfigError, one_line
from data.artifacts.folders import StorageConfig
from data.artifacts.structured import typed
from data.cluster.session import ClusterConfig
from data.dataset.preparation import DataConfig
from data.sources.source import sources
from serve.batch.recommendations import RecommendConfig
from serve.deployment.settings import DemoConfig, ServeConfig
from serve.experiments.assignment import TrafficConfig
from serve.experiments.canary_analysis import GuardConfig
from serve.index.config import IndexConfig
from serve.releases.gate.config import GateConfig
from towers.evaluation.config import EvaluateConfig
from towers.model.config import ModelConfig
from towers.reranking.config import RerankConfig
from towers.training.config import TrainConfig
from towers.training.losses.config import LossConfig
from towers.training.tracking import TrackingConfig

FOLDER = Path(__file__).parent
"""Where the yaml lies."""


@dataclass(kw_only=True, slots=True)
class Config:
    """What `python -m <package>.<verb>` takes; the same for every verb.

    Attributes:
        seed: of weights, negatives and shuffling.
        checkpoint: towers.evaluate, towers.compare and serve.publish: a checkpoint folder; null means the one that this
            config trains.
        baseline: towers.compare: the checkpoint folder to compare with.
        release: a release id; null means the newest (serve.promote) or the live one (serve.recommend, serve.verify).
        keep: serve.prune: so many releases.
        percent: serve.promote: of the users, who get the release; below 100 it is a canary.
        sweep: towers.leaderboard: a sweep's folder; null means the newest.
        metric: towers.leaderboard: what counts, a dotted path into what a trial returned; null means the search's own
            objective, or training.best_value.
        outcomes: serve.lift: a Parquet file of what users did.
        find: serve.lineage: the beginning of a checkpoint, dataset, commit or W&B run.
        items: serve.withdraw: item ids; `restore` brings them back. serve.refresh: item ids to take out.
        rows: serve.refresh: a Parquet or CSV file of items to add or change; `promote` makes the new release live.
        force: serve.publish: past the gate, for the `reason` given (serve.rollback and serve.withdraw keep one too).
    """

    seed: int = 0
    checkpoint: str | None = None
    baseline: str | None = None
    release: str | None = None
    keep: int = 3
    percent: float = 100
    sweep: str | None = None
    metric: str | None = None
    outcomes: str | None = None
    find: str | None = None
    items: list[str] = field(default_factory=list)
    restore: bool = False
    rows: str | None = None
    promote: bool = False
    force: bool = False
    reason: str | None = None
    storage: StorageConfig = field(default_factory=StorageConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    data: DataConfig
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    rerank: RerankConfig
    evaluate: EvaluateConfig
    index: IndexConfig
    gate: GateConfig
    serve: ServeConfig
    traffic: TrafficConfig
    guard: GuardConfig
    tracking: TrackingConfig
    demo: DemoConfig
    recommend: RecommendConfig = field(default_factory=RecommendConfig)


def register() -> None:
    """Makes the schemas known to Hydra: the root as `schema`, each source as `data/source/<name>`."""
    OmegaConf.register_new_resolver("sweep_id", sweep_id, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("on_disk", on_disk, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, source in sources().items():
        store.store(group="data/source", name=name, node=source)


def sweep_id() -> str:
    """Digest of the command line, without what says where and how long a sweep runs: equal commands share a folder."""
    deciding = sorted(a for a in sys.argv[1:] if not a.startswith(("-", "hydra.", "hydra/launcher", "cluster.")))
    return hashlib.sha256("\n".join(deciding).encode()).hexdigest()[:8]


def on_disk(root: str) -> str:
    """Where this machine keeps its runs and Milvus Lite: `storage.root`, or ./var where that is a URI."""
    return "./var" if "://" in root else root


def load(overrides: Sequence[str] = ()) -> Config:
    """The typed config of these Hydra overrides, for notebooks and tests.

    Raises:
        ConfigError: an override names an unknown key or gives a wrong value; one line says which.
    """
    register()
    try:
        with initialize_config_dir(str(FOLDER), version_base="1.3"):
            config: Config = typed(compose("config", overrides=renamed(overrides)))
    except (HydraException, OmegaConfBaseException) as e:
        raise ConfigError(complaint(one_line(e))) from e
    return config

"""The typed root config: every field is declared beside the code that it configures, and gathered here."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.chosen_plugins import chosen_plugins
from conf.overrides import complaint, opened, refuse_misspelt_types, renamed
from conf.run_files import free_folder
from conf.single_run import beside_a_command
from conf.text_as_written import accept_numbers_as_text, keep_text
from conf.typed_text import text_kept
from data.artifacts.bounds import bounded
from data.artifacts.conditional_writes import HALF_A_URI
from data.artifacts.errors import ConfigError, one_line
from data.artifacts.folders import StorageConfig
from data.artifacts.plugins import use
from data.artifacts.structured import typed
from data.cluster.session import ClusterConfig
from data.dataset.config import DataConfig
from data.sources.source import sources
from data.sources.text_vectors.config import EmbedTextConfig
from serve.access.config import AuthConfig, KeyConfig
from serve.batch.config import RecommendConfig
from serve.deployment.settings import DemoConfig, ServeConfig
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig
from serve.experiments.assignment import TrafficConfig
from serve.experiments.canary_analysis import GuardConfig
from serve.index.config import IndexConfig
from serve.laps.config import CycleConfig
from serve.operations.config import ManifestsConfig
from serve.operations.monitoring.config import WatchConfig
from serve.operations.nodes import NodesConfig
from serve.operations.sizing.config import CapacityConfig
from serve.releases.gate.config import GateConfig
from serve.viewer.config import PageConfig
from towers.evaluation.config import EvaluateConfig
from towers.model.config import ModelConfig
from towers.reranking.config import RerankConfig
from towers.training.config import TrainConfig
from towers.training.losses.config import LossConfig
from towers.training.tracking import TrackingConfig

FOLDER = Path(__file__).parent
"""The folder of the yaml files."""


@dataclass(kw_only=True, slots=True)
class Config:
    """The config of every command `python -m <package>.<verb>`.

    The class of a group, such as `data`, describes its values. conf/verbs.py says which commands use which values.

    Attributes:
        plugins: modules of your own that register losses, encoders, sources or index back ends; they are imported in
            every process.
        seed: the random seed of weights, negatives and shuffling.
        checkpoint: the folder of the checkpoint to evaluate, compare or publish, or of the run of towers.train that
            made it; null means the one that this config trains on the log as it is now.
        baseline: the folder of the checkpoint with which towers.compare compares `checkpoint`.
        release: a release id; null means the newest release for serve.promote, the checkpoint for serve.publish, and
            the live one for other commands.
        keep: the number of newest releases that serve.prune keeps.
        laps: whether serve.prune also removes what laps of serve.cycle have left and nothing needs any more; false says
            how much that is.
        percent: the share of the users, in percent, that serve.promote gives to the release; below 100 it is a canary.
        sweep: the folder of the sweep that towers.leaderboard shows; null means the newest sweep.
        metric: the value by which towers.leaderboard orders trials, as a dotted path into the summary of a trial; null
            means the objective of the search, or training.best_value.
        outcomes: the Parquet file that serve.lift reads, or a folder of such, with the columns `request_id` and
            `value`.
        since: the time at which the run of the experiment began that serve.lift analyses, or the beginning of it, such
            as 2026-01-31T09; null means the running one or, where none runs, the newest.
        find: the beginning of the checkpoint, dataset, commit or W&B run that serve.lineage looks for.
        items: ids of the items that serve.withdraw puts on the denylist, or that serve.refresh removes.
        restore: whether serve.withdraw takes `items` off the denylist instead.
        rows: the Parquet or CSV file of the items that serve.refresh adds or changes.
        vectors: the Parquet file with `item_id` and vectors that serve.refresh joins to `rows` without them; null means
            that of data.item_vectors, if the release was trained with one.
        promote: whether serve.refresh makes the new release live at once.
        force: whether serve.publish and serve.refresh ignore a failed gate, which needs a `reason`, and serve.withdraw
            ids that no release has.
        mint: the name of the key that serve.keys makes.
        revoke: the name of the key that serve.keys makes invalid.
        last: how many operations serve.history shows.
        request: the id of the request that serve.approve approves.
        require: what needs a second operator from now on, of `promote` and `withdraw`; null changes nothing.
        replace: whether serve.run changes values of an endpoint that runs which were not typed, too.
        reason: why the gate is ignored, a release is rolled back, or items are put on the denylist. It is recorded.
    """

    plugins: list[str] = field(default_factory=list)
    seed: int = bounded(0, at_least=0, below=2**63)
    checkpoint: str | None = None
    baseline: str | None = None
    release: str | None = None
    keep: int = bounded(3, at_least=1)
    laps: bool = False
    percent: float = bounded(100, above=0, at_most=100)
    sweep: str | None = None
    metric: str | None = None
    outcomes: str | None = None
    since: str | None = None
    find: str | None = None
    items: list[str] = field(default_factory=list)
    restore: bool = False
    rows: str | None = None
    vectors: str | None = None
    promote: bool = False
    force: bool = False
    mint: str | None = None
    revoke: str | None = None
    last: int = bounded(20, at_least=1)
    request: str | None = None
    require: list[str] | None = None
    replace: bool = False
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
    auth: AuthConfig
    traffic: TrafficConfig
    guard: GuardConfig
    cycle: CycleConfig
    events: EventsConfig
    tracking: TrackingConfig
    demo: DemoConfig
    nodes: NodesConfig
    manifests: ManifestsConfig
    watch: WatchConfig
    page: PageConfig
    capacity: CapacityConfig
    key: KeyConfig = field(default_factory=KeyConfig)
    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    ingest: IngestConfig = field(default_factory=IngestConfig)
    embed: EmbedTextConfig = field(default_factory=EmbedTextConfig)

    def __post_init__(self) -> None:
        if self.reason is not None and not self.reason.strip():
            raise ConfigError(f"reason: {self.reason!r} is blank; say why, reason='...', or leave it out")


def register() -> None:
    """Registers the schemas with Hydra: the root as `schema`, each log source in the group `data/source`.

    Keys that are text may be typed as numbers from then on, and values of yaml files that are text as any word.
    """
    accept_numbers_as_text()
    keep_text()
    OmegaConf.register_new_resolver("sweep_id", sweep_id, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("on_disk", on_disk, replace=True)
    OmegaConf.register_new_resolver("free_folder", free_folder, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, source in sources().items():
        store.store(group="data/source", name=name, node=source)


STUDY = "hydra.sweeper.study="
"""The override that names the study of a search."""


def sweep_id() -> str:
    """Returns a digest of the command line, by which equal commands share a folder.

    Options that say where or for how long a sweep runs do not count. The name of its study does: another one is another
    search.
    """
    left_out = ("-", "hydra.", "hydra/launcher", "cluster.")
    deciding = sorted(a for a in sys.argv[1:] if a.startswith(STUDY) or not a.startswith(left_out))
    return hashlib.sha256("\n".join(deciding).encode()).hexdigest()[:8]


def on_disk(root: str) -> str:
    """Returns the folder for runs and Milvus Lite on this machine: `storage.root`, or ./var if that is a URI.

    Half a URI, such as s3:/bucket, counts as one: it is refused, but Hydra would first make a folder of this name here.

    A `~` is the home folder here too: no shell expands that of `storage.root=~/twotower`, and Hydra would make a folder
    of this name.
    """
    if "://" in root or HALF_A_URI.match(root):
        return "./var"
    return str(Path(root).expanduser()) if root.startswith("~") else root


def load(overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> Config:
    """Returns the typed config for some Hydra overrides; for notebooks, tests, and Serve configs.

    Args:
        values: values by key, such as {"serve": {"timeout_ms": 100}}, which win over the overrides.

    Raises:
        ConfigError: an override or a value names an unknown key or gives a wrong value; one line says which.
    """
    refuse_misspelt_types(overrides, composed)
    try:
        found = composed(overrides)
        found.merge_with(values or {})
        use(found.plugins)
        config: Config = typed(found)
    except (HydraException, OmegaConfBaseException) as e:
        raise ConfigError(complaint(one_line(e))) from e
    return config


def composed(overrides: Sequence[str] = (), folders: Sequence[Path] = (), name: str | None = None) -> DictConfig:
    """Returns the config for some Hydra overrides as Hydra composes it, unchecked.

    Args:
        folders: further folders of yaml files, as `--config-dir` names one.
        name: that of the root config, as `--config-name` gives it; None means ours.

    Raises:
        HydraException, OmegaConfBaseException: an override names an unknown key or gives a wrong value.
        ConfigError: a plugin cannot be used.
    """
    use(chosen_plugins(overrides, [*folders, FOLDER]))
    register()
    places = ",".join(f"'file://{folder.absolute()}'" for folder in folders)
    more = [f"hydra.searchpath=[{places}]"] if places else []
    with beside_a_command(), initialize_config_dir(str(FOLDER), version_base="1.3"):
        return compose(name or "config", overrides=[*translated(overrides), *more])


def translated(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with overrides that Hydra reads as they are meant: keys by their present names, mappings
    that take keys of the user's, and the text of keys of text as it was typed.
    """
    return text_kept(opened(renamed(arguments)), Config)

"""Whether there is room for the workers of a training, and what the tasks that read for them may reserve."""

import re
from typing import NamedTuple

import ray

from data.artifacts.errors import ConfigError
from data.cluster.console import ProgressReporter
from data.cluster.session import started_here
from towers.sweeps.trial import current_trial
from towers.training.config import TrainConfig

PLAIN = re.compile(r"[\w.-]*")
"""The value of a label that nodes must have as it is; others, such as !x and in(x,y), are Ray's to understand."""


def check_room(train: TrainConfig, progress: ProgressReporter) -> None:
    """Refuses workers for which a Ray that was started here never has room; Ray itself would wait for ever.

    A cluster may grow: what is waited for there is told. The trials of a sweep are placed by the sweep.

    Args:
        progress: called with a line of text about what is waited for.

    Raises:
        ConfigError: the workers ask for more than this machine has.
    """
    if current_trial() is not None:
        return
    has, needed = ray.cluster_resources(), _needed(train)
    lacking = [name for name, amount in needed.items() if amount > has.get(name, 0.0) + 1e-6]  # they are sums
    if not lacking and (not train.labels or _has_node(train.labels)):
        return
    asked, there = _asked(train), " and ".join(f"{has.get(name, 0.0):g} {name}" for name in needed)
    there += "" if lacking else ", and no such label"
    if not started_here():
        progress(f"train: waits for room: {asked}; the cluster has {there} now")
        return
    field, cure = _cure(lacking, train.num_workers, has.get("GPU", 0.0))
    raise ConfigError(
        f"{field}: {asked} were asked for, and the Ray started here has {there}; set {cure}, or name a cluster that has"
        " room (cluster.address)"
    )


class ReadTasks(NamedTuple):
    """Options of Ray Data for the tasks that read for the workers; None leaves them to Ray.

    Attributes:
        num_cpus: CPUs that each reserves.
        concurrency: how many run at a time.
    """

    num_cpus: int | None = None
    concurrency: int | None = None


def read_tasks(train: TrainConfig) -> ReadTasks:
    """The tasks that read for the workers reserve nothing where no whole CPU is left beside the workers.

    A task that waits for a CPU would wait for the workers to end, and these wait for what it reads.
    """
    left = ray.cluster_resources().get("CPU", 0.0) - _needed(train).get("CPU", 0.0)
    return ReadTasks() if left >= 1 or current_trial() is not None else ReadTasks(0, train.num_workers)


def _asked(train: TrainConfig) -> str:
    """What the workers ask for, as a text."""
    each = " and ".join(f"{amount:g} {name}" for name, amount in _each(train).items()) or "nothing"
    labels = ", ".join(f"{key}={value}" for key, value in train.labels.items())
    return f"{train.num_workers} worker(s) with {each} each" + (f" on nodes labelled {labels}" if labels else "")


def _each(train: TrainConfig) -> dict[str, float]:
    return {name: amount for name, amount in train.resources().items() if amount}


def _needed(train: TrainConfig) -> dict[str, float]:
    return {name: amount * train.num_workers for name, amount in _each(train).items()}


def _has_node(labels: dict[str, str]) -> bool:
    """Whether some node has these labels; True where one of them is more than a plain value."""
    plain = {key: value for key, value in labels.items() if PLAIN.fullmatch(value)}
    return any(plain.items() <= (node.get("Labels") or {}).items() for node in ray.nodes() if node["Alive"])


def _cure(lacking: list[str], num_workers: int, num_gpus: float) -> tuple[str, str]:
    """The field that is at fault, and what to set."""
    if "GPU" in lacking:
        return "train.use_gpu", "it to false" if num_workers == 1 or not num_gpus else "train.num_workers to less"
    if lacking:
        return "train.num_workers", "it or train.cpus_per_worker to less, or cluster.num_cpus to more"
    return "train.labels", "it to {}"

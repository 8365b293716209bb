"""The node types of a cluster, from which `cluster.yaml` and the Kubernetes manifests are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import version

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError

INSTALLED_RAY = version("ray")
"""The version of Ray that is installed here, and that every node must run."""


class Work(Enum):
    """What a node type is for."""

    train = "train"
    serve = "serve"


@dataclass(kw_only=True, slots=True)
class HeadNode:
    """The head: autoscaler, dashboard, Serve's controller and the drivers of jobs. It runs no tasks and no replicas.

    Attributes:
        instance: the cloud's name of the machine, for cluster.yaml.
        cpus, memory_gib: what the machine has; the autoscaler beside takes half a CPU and half a GiB of it.
        cost_per_month: price of the machine for a month, in any currency.
    """

    instance: str = "m7i.xlarge"
    cpus: int = bounded(4, at_least=1)
    memory_gib: float = bounded(16.0, at_least=1)
    cost_per_month: float = bounded(160.0, at_least=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "nodes.head")


@dataclass(kw_only=True, slots=True)
class NodeType:
    """Nodes of one kind, which come and go with what is asked of them. Their label `role` is the name of the type.

    Attributes:
        work: whether they train or serve.
        instance: the cloud's name of the machine, for cluster.yaml.
        cpus, gpus, memory_gib: what one machine has.
        min_workers, max_workers: the number of such nodes.
        cost_per_month: price of one machine for a month, in the same currency as that of the head.
    """

    work: Work = Work.serve
    instance: str = "c7i.2xlarge"
    cpus: int = bounded(8, at_least=1)
    gpus: int = bounded(0, at_least=0)
    memory_gib: float = bounded(16.0, above=0)
    min_workers: int = bounded(0, at_least=0)
    max_workers: int = bounded(1, at_least=1)
    cost_per_month: float = bounded(280.0, at_least=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "nodes.types")


@dataclass(kw_only=True, slots=True)
class NodesConfig:
    """The nodes of a cluster.

    Attributes:
        head: the one head node.
        types: the other node types by name.
        idle_timeout_s: seconds without work after which a node is given back.
        region: the cloud's region, for cluster.yaml.
    """

    head: HeadNode = field(default_factory=HeadNode)
    types: dict[str, NodeType] = field(default_factory=dict)
    idle_timeout_s: int = bounded(300, at_least=10)
    region: str = "eu-central-1"

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused, or values that do not go together."""
        check_bounds(self, "nodes")
        for name, node in self.types.items():
            key = f"nodes.types.{name}"
            if not name.isidentifier() or not name.islower() or name == "head":
                raise ConfigError(f"{key}: a type is named in lower case letters, and not `head`")
            if node.min_workers > node.max_workers:
                raise ConfigError(
                    f"{key}.min_workers: {node.min_workers} must be at most {key}.max_workers ({node.max_workers})"
                )

    def of(self, work: Work) -> dict[str, NodeType]:
        """The node types for this work, by name."""
        return {name: node for name, node in self.types.items() if node.work is work}

    def eligible(self, key: str, labels: Mapping[str, str], work: Work) -> dict[str, NodeType]:
        """The node types for some work that have these labels.

        Args:
            key: the config key of the labels, for messages.

        Raises:
            ConfigError: there is none.
        """
        known = self.of(work)
        role = labels.get("role")
        if role is not None and role not in known:
            raise ConfigError(f"{key}.role: {role!r} is no node type that is to {work.value}; {_listed(known)}")
        if unknown := sorted(set(labels) - {"role"}):
            raise ConfigError(f"{key}.{unknown[0]}: no node has this label; nodes have `role` alone")
        if not known:
            raise ConfigError(f"nodes.types: no node type is to {work.value}; {_listed(self.types)}")
        return known if role is None else {role: known[role]}


def _listed(types: Mapping[str, NodeType]) -> str:
    return f"nodes.types has {', '.join(types) or 'none'}"

"""Whether the endpoint and the training that a config asks for fit on its nodes; what cannot be is refused."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data.artifacts.errors import ConfigError
from data.artifacts.secrets import holds_secret, masked, recordable
from serve.deployment.declared import SCALES, scales
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.settings import ScaleConfig
from serve.operations.nodes import NodesConfig, NodeType, Work
from towers.training.config import TrainConfig


def refuse_unfit(config: EndpointConfig, nodes: NodesConfig) -> None:
    """Raises ConfigError where the replicas, at their largest number, do not fit on the serving nodes."""
    needed: dict[tuple[str, str], float] = {}
    for name, scale in scales(config.serve).items():
        key = f"serve.{SCALES[name]}"
        eligible = nodes.eligible(f"{key}.labels", scale.labels, Work.serve)
        _refuse_too_large(key, scale, eligible)
        _refuse_too_many(key, scale, eligible)
        role = scale.labels.get("role", "")
        for kind, each in (("CPUs", scale.num_cpus), ("GPUs", scale.num_gpus)):
            needed[role, kind] = needed.get((role, kind), 0) + each * scale.max_replicas
    for (role, kind), number in needed.items():
        types = nodes.of(Work.serve)
        offering = {role: types[role]} if role else types
        most = sum((node.cpus if kind == "CPUs" else node.gpus) * node.max_workers for node in offering.values())
        if number > most:
            raise ConfigError(
                f"nodes.types.{next(iter(offering))}.max_workers: all nodes together have {most} {kind}, and the"
                f" max_replicas of serve need {number:g}; raise the one or lower the others"
            )


def _refuse_too_large(key: str, scale: ScaleConfig, eligible: dict[str, NodeType]) -> None:
    if not any(scale.num_cpus <= node.cpus and scale.num_gpus <= node.gpus for node in eligible.values()):
        sizes = ", ".join(f"{name} {node.cpus} CPUs and {node.gpus} GPUs" for name, node in eligible.items())
        raise ConfigError(
            f"{key}: a replica needs {scale.num_cpus:g} CPUs (num_cpus) and {scale.num_gpus:g} GPUs (num_gpus), which"
            f" no node has: {sizes}"
        )


def _refuse_too_many(key: str, scale: ScaleConfig, eligible: dict[str, NodeType]) -> None:
    """Refuses more replicas than whole ones fit on the nodes."""
    most = sum(_fitting(scale, node) * node.max_workers for node in eligible.values())
    if scale.max_replicas > most:
        per_node = ", ".join(f"{_fitting(scale, node)} on each {name}" for name, node in eligible.items())
        raise ConfigError(
            f"{key}.max_replicas: {scale.max_replicas} replicas of {scale.num_cpus:g} CPUs (num_cpus) and"
            f" {scale.num_gpus:g} GPUs (num_gpus) do not fit on the nodes, which hold {most} ({per_node}); lower it, or"
            f" raise nodes.types.{next(iter(eligible))}.max_workers"
        )


def _fitting(scale: ScaleConfig, node: NodeType) -> int:
    """The number of replicas that one node holds."""
    offered = ((node.cpus, scale.num_cpus), (node.gpus, scale.num_gpus))
    return min((int(has / each) for has, each in offered if each), default=scale.max_replicas)


def trainers(config: TrainConfig, nodes: NodesConfig) -> tuple[str, NodeType]:
    """Returns the node type that trains, and its name.

    Raises:
        ConfigError: no node trains, or the workers of the training do not fit on such nodes.
    """
    name, node = next(iter(nodes.eligible("train.labels", config.labels, Work.train).items()))
    if config.use_gpu and not node.gpus:
        raise ConfigError(f"train.use_gpu: true, but nodes.types.{name}.gpus is 0")
    if config.use_gpu:
        per_node, what = int(node.gpus / config.gpus_per_worker), "GPUs"
    else:
        per_node, what = int(node.cpus / config.cpus_per_worker), "CPUs"
    if config.num_workers > (most := per_node * node.max_workers):
        raise ConfigError(
            f"train.num_workers: {config.num_workers} is more than the {most} for which {node.max_workers} nodes of"
            f" nodes.types.{name} have {what}; raise its max_workers"
        )
    return name, node


def refuse_credentials(overrides: Iterable[str]) -> None:
    """Raises ConfigError where an override, with which jobs are started, has a password that manifests would show."""
    for override in overrides:
        key, _, value = override.partition("=")
        if holds_secret(value):
            raise ConfigError(
                f"{key}: {masked(value)} holds credentials, which manifests would show; leave them out, and put them"
                " into the Secret manifests.secret, under the names of the cloud's own tools"
            )


def refuse_local(config: EndpointConfig, storage_claim: str | None) -> None:
    """Raises ConfigError where pods would look for files of one machine, or where manifests would show credentials."""
    root = config.storage.root
    if holds_secret(root):
        raise ConfigError(
            f"storage.root: {masked(root)} holds credentials, which manifests would show; leave them out, and give them"
            " to pods by the names of the cloud's own tools, such as AWS_ACCESS_KEY_ID, in the Secret manifests.secret"
        )
    if "://" not in root and storage_claim is None:
        raise ConfigError(
            f"storage.root: {root} is a folder of one machine; name an object store (storage.root=s3://bucket/twotower),"
            " or an absolute path with manifests.storage_claim"
        )
    if "://" not in root and not root.startswith("/"):
        raise ConfigError(f"storage.root: {root} must be absolute where manifests.storage_claim is mounted")
    if config.index.address.database is not None:
        raise ConfigError(
            f"index.uri: {config.index.address} is Milvus Lite, a file of one machine; name a server, such as"
            " index.uri=http://milvus:19530"
        )


def notes_on_places(places: Mapping[str, str], mounted: str | None, datasets: str, secret: str) -> list[str]:
    """Returns what pods need to find the log: a line for each file or folder that may be on this machine alone.

    Args:
        places: where the log lies, by config key.
        mounted: the folder of the storage that every pod has; None where the storage is an object store.
        datasets: where the public datasets are, by DATASETS on this machine; empty where it is not set.
        secret: the name of the Secret whose keys become variables of the pods.
    """
    notes = [
        f"{key}: pods look for {place} in their image, as no file of this machine is theirs; have it there, or name an"
        f" object store ({key}=s3://...)"
        for key, place in places.items()
        if "://" not in place and (mounted is None or not Path(place).is_relative_to(mounted))
    ]
    if "://" in datasets and any(place.startswith(datasets) for place in places.values()):
        notes.append(f"DATASETS is {recordable(datasets)} here; pods have it by that key of the Secret {secret}")
    return notes

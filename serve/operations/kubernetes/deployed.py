"""What the manifests are made of: the sections of the root config, and the overrides of the training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.artifacts.folders import StorageConfig
from serve.access.config import AuthConfig
from serve.deployment.settings import ServeConfig
from serve.events.config import EventsConfig
from serve.experiments.canary_analysis import GuardConfig
from serve.index.config import IndexConfig
from serve.operations.config import ManifestsConfig
from serve.operations.nodes import NodesConfig
from towers.training.config import TrainConfig

Manifest = dict[str, Any]

COMPONENT = "app.kubernetes.io/component"

NAME_LABEL = "app.kubernetes.io/name"
"""The label with the endpoint's name, which every object has."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What is deployed on Kubernetes.

    Attributes:
        storage, index, serve, auth, guard, events, train, nodes, manifests: sections of the root config.
        recipe: overrides that the training is started with.
        publish: overrides that its checkpoint is published with, beside its name.
        cycle: overrides that a lap of the cycle is started with.
        options: further arguments of all three, which say where in the image the yaml files of one's own lie.
    """

    storage: StorageConfig
    index: IndexConfig
    serve: ServeConfig
    auth: AuthConfig
    guard: GuardConfig
    events: EventsConfig
    train: TrainConfig
    nodes: NodesConfig
    manifests: ManifestsConfig
    recipe: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    cycle: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def metadata(self, suffix: str = "", component: str | None = None) -> Manifest:
        """Returns the metadata of an object whose name is that of the endpoint, with a suffix."""
        return {
            "name": f"{self.manifests.name}{suffix}",
            "namespace": self.manifests.namespace,
            "labels": self.labels(component),
        }

    def labels(self, component: str | None = None) -> dict[str, str]:
        """Returns the labels of an object or a pod; those of a component are those of all, and one more."""
        return {NAME_LABEL: self.manifests.name} | ({COMPONENT: component} if component else {})


def manifest(api_version: str, kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any] | None) -> Manifest:
    """Returns an object of Kubernetes; None leaves out the spec, for kinds that have none."""
    whole: Manifest = {"apiVersion": api_version, "kind": kind, "metadata": dict(metadata)}
    return whole if spec is None else whole | {"spec": dict(spec)}

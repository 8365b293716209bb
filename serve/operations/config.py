"""The configuration of what `serve.manifests` writes, as in conf/manifests/default.yaml."""

import re
from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from serve.operations.nodes import INSTALLED_RAY
from serve.operations.objectives import Objectives

NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""Names of Kubernetes, short enough for what is added to them."""

LONGEST_NAME = 33
"""Characters of the longest name of an endpoint. KubeRay refuses a RayJob with more than 47 (MaxRayJobNameLength in its
version 1.7), and the CronJob calls one NAME-retrain-12345."""

CRON = re.compile(r"\S+( \S+){4}")


class Upgrade(Enum):
    """How KubeRay changes the endpoint's cluster when more than `serveConfigV2` has changed."""

    new_cluster = "NewCluster"  # a second cluster is made ready, then all traffic goes there
    incremental = "NewClusterWithIncrementalUpgrade"  # the traffic goes there step by step, through a Gateway
    none = "None"  # nothing is changed until the RayService is made anew


@dataclass(kw_only=True, slots=True)
class MilvusChart:
    """Values of Milvus' Helm chart.

    Attributes:
        tag: version of the image.
        query_nodes: replicas of the query nodes, which hold the collections in memory.
        query_node_memory_gib: memory of each.
        bucket: bucket of the object store for Milvus' own data.
        endpoint: address of that object store.
    """

    tag: str = "v2.6.0"
    query_nodes: int = bounded(2, at_least=1)
    query_node_memory_gib: float = bounded(8.0, above=0)
    bucket: str = "milvus"
    endpoint: str = "s3.amazonaws.com"

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "manifests.milvus")


@dataclass(kw_only=True, slots=True)
class ManifestsConfig:
    """What the manifests hold beside the values of the endpoint and of the nodes.

    Attributes:
        folder: where the files are written.
        name: the name of the endpoint's RayService, with which the names of the other objects begin.
        namespace: the Kubernetes namespace.
        image, image_gpu: images made by the Dockerfile; the tag names the version of Ray.
        secret: the Secret whose keys become environment variables (USER_HASH_KEY, MILVUS_TOKEN, JWT_KEY, and with
            `events=redis` EVENTS_REDIS_PASSWORD).
        ray_token_secret: the Secret whose key `auth_token` is Ray's token.
        redis_address: the Redis that keeps the state of Ray's head, by which the endpoint outlives it; null means none.
        redis_secret: the Secret whose key `password` is that of the Redis.
        storage_claim: the PersistentVolumeClaim that is mounted at `storage.root` where that is a folder; null where
            it is an object store.
        hostname: the name under which a Gateway serves the endpoint with TLS; null means no Gateway.
        gateway_class: the GatewayClass; needed for a hostname and for `upgrade: incremental`.
        tls_secret: the Secret with the certificate of the hostname.
        upgrade: how KubeRay changes the endpoint's cluster.
        step_size_percent, interval_s, max_surge_percent: `incremental`: the share of the traffic that moves at a time,
            the seconds between two steps, and how much larger than one cluster both may be.
        monitoring_namespace: where Prometheus runs, which may scrape.
        operator_namespace: where KubeRay runs, which may call the head.
        retrain: the schedule of the retraining, in cron's form.
        train_timeout_s: seconds after which a training is ended.
        kubectl_image: the image by which the CronJob makes a RayJob.
        milvus: values of Milvus' chart.
        objectives: what the endpoint promises, by which alerts are raised.
    """

    folder: str = "./var/manifests"
    name: str = "twotower"
    namespace: str = "twotower"
    image: str = f"twotower:ray{INSTALLED_RAY}-cpu"
    image_gpu: str = f"twotower:ray{INSTALLED_RAY}-gpu"
    secret: str = "twotower"
    ray_token_secret: str = "ray-auth-token"
    redis_address: str | None = "redis:6379"
    redis_secret: str = "redis"
    storage_claim: str | None = None
    hostname: str | None = None
    gateway_class: str | None = None
    tls_secret: str = "twotower-tls"
    upgrade: Upgrade = Upgrade.new_cluster
    step_size_percent: int = bounded(10, at_least=1, at_most=100)
    interval_s: int = bounded(30, at_least=1)
    max_surge_percent: int = bounded(100, at_least=0, at_most=100)
    monitoring_namespace: str = "monitoring"
    operator_namespace: str = "kuberay-operator"
    retrain: str = "0 3 * * *"
    train_timeout_s: int = bounded(6 * 3600, at_least=60)
    kubectl_image: str = "registry.k8s.io/kubectl:v1.32.0"
    milvus: MilvusChart = field(default_factory=MilvusChart)
    objectives: Objectives = field(default_factory=Objectives)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused, or values that do not go together."""
        check_bounds(self, "manifests")
        for key in ("name", "namespace", "secret", "ray_token_secret", "monitoring_namespace", "operator_namespace"):
            if not NAME.fullmatch(value := getattr(self, key)):
                raise ConfigError(f"manifests.{key}: {value!r} must be lower case letters, digits and -, at most 40")
        if len(self.name) > LONGEST_NAME:
            raise ConfigError(
                f"manifests.name: {self.name!r} has {len(self.name)} characters, at most {LONGEST_NAME}: with more,"
                " KubeRay refuses the trainings that the CronJob starts"
            )
        for key in ("image", "image_gpu"):
            refuse_other_ray(f"manifests.{key}", getattr(self, key))
        if not CRON.fullmatch(self.retrain):
            raise ConfigError(f"manifests.retrain: {self.retrain!r} must have the five fields of cron, as '0 3 * * *'")
        if self.step_size_percent > self.max_surge_percent and self.upgrade is Upgrade.incremental:
            raise ConfigError(
                f"manifests.step_size_percent: {self.step_size_percent} must be at most manifests.max_surge_percent"
                f" ({self.max_surge_percent}): the traffic of a step needs its replicas"
            )
        if self.upgrade is Upgrade.incremental and self.hostname is not None:
            raise ConfigError(
                f"manifests.hostname: {self.hostname} is not served with upgrade=incremental, for which KubeRay makes a"
                " Gateway of its own, without TLS; leave out one of them"
            )
        needing = {"hostname": self.hostname is not None, "upgrade=incremental": self.upgrade is Upgrade.incremental}
        for name, needs in needing.items():
            if needs and self.gateway_class is None:
                raise ConfigError(
                    f"manifests.gateway_class: null, but manifests.{name} needs a Gateway; name its class"
                )


def refuse_other_ray(key: str, image: str) -> None:
    """Raises ConfigError if the tag of an image does not name the version of Ray that is installed here."""
    tag = image.rpartition("/")[2].partition(":")[2]
    before = r"" if image.startswith("rayproject/ray:") else r"(.*[-_.])?ray"
    if not re.fullmatch(rf"{before}{re.escape(INSTALLED_RAY)}([-_@].*)?", tag):
        raise ConfigError(
            f"{key}: {image} does not name Ray {INSTALLED_RAY} in its tag, as twotower:ray{INSTALLED_RAY}-cpu does:"
            " nodes with another version of Ray cannot join; build it by the Dockerfile"
        )

"""The endpoint as a Serve config: what `serve deploy`, the dashboard's PUT and KubeRay's RayService take.

Limits and scale stand under `deployments`, apart from the arguments of the application: changing them leaves the
replicas running. Changing an argument, or the code, replaces the replicas one after the other.
"""

from dataclasses import asdict, replace
from typing import Any

from omegaconf import OmegaConf

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.plugins import VARIABLE, in_use
from data.artifacts.secrets import holds_secret, masked
from serve.access.config import AuthConfig
from serve.access.exposure import check_exposure
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.settings import METRICS_INTERVAL_S, ScaleConfig, ServeConfig, Topology
from serve.events.config import EVENTS_PASSWORD, EventsConfig
from serve.index.config import TOKEN

APPLICATION = "recommender"
GUARD = "guard"
COMPACTION = "compaction"
OURS = (APPLICATION, GUARD, COMPACTION)
"""The applications of an endpoint."""

ROUTE = "/"
"""The path below which the endpoint answers."""

BUILDER, GUARD_BUILDER = "serve.deployment.application:app", "serve.deployment.application:guard"
COMPACTION_BUILDER = "serve.deployment.application:compaction"

SCALES = {"Recommender": "ingress", "UserEmbedder": "embedder", "Retriever": "retriever", "Reranker": "reranker"}
"""The section of `serve` with the scale of each deployment."""

LOGGING = {"encoding": "JSON", "log_level": "WARNING", "enable_access_log": False}
"""Warnings as JSON lines (see serve/observability/logs.py). Metrics count the answers; a log line for each would cost
as much as a stage, and at level INFO Ray Serve composes one even if it does not write it."""

SERVICER = "serve.api.recommender_pb2_grpc.add_RecommenderServicer_to_server"
"""The function that Ray Serve calls to register the gRPC service, as a dotted path."""

CLOUD = "set the cloud's own variables, such as AWS_ACCESS_KEY_ID, in the environment of all nodes"
"""Where credentials of an object store belong."""

ON_ALL_NODES = "in the environment of all nodes"
"""Where the passwords of Redis belong."""

ON_PROXIES = ("host", "port", "grpc_port")
"""Values of `serve` that the proxies hold, which Ray Serve reads when it starts."""


def deploy_config(
    config: EndpointConfig, host: str | None = None, events: EventsConfig | None = None
) -> dict[str, Any]:
    """Returns the config of the endpoint as JSON values, in the form of `ray.serve.schema.ServeDeploySchema`.

    The applications import the plugins that this process uses.

    Args:
        host: the address on which the proxies listen; None means `serve.host`.
        events: replaces `config.events`.

    Raises:
        ConfigError: others can reach that address, and `auth` was left as it is; or an address has a password.
    """
    check_exposure(config.auth, host or config.serve.host)
    _refuse_passwords(config)
    events = events or config.events
    http = {"host": host or config.serve.host, "port": config.serve.port}
    applications: list[dict[str, Any]] = [
        {
            "name": APPLICATION,
            "route_prefix": ROUTE,
            "import_path": BUILDER,
            "args": {"values": arguments(config) | {"events": values_of(events)}},
            "deployments": [deployment(name, scale) for name, scale in scales(config.serve).items()],
            "logging_config": dict(LOGGING),
        }
    ]
    root = {"root": absolute(config.storage.root)}
    if config.guard.enabled:
        applications.append(_beside(GUARD, GUARD_BUILDER, {"storage": root, "guard": values_of(config.guard)}))
    if events.keeps_logs:
        auth = values_of(absolute_auth(config.auth))  # says whether it needs a key of hashes
        compacting = {"storage": root, "events": values_of(events), "auth": auth}
        applications.append(_beside(COMPACTION, COMPACTION_BUILDER, compacting))
    if plugins := in_use():
        for application in applications:
            application["runtime_env"] = {"env_vars": {VARIABLE: ",".join(plugins)}}
    declared: dict[str, Any] = {"proxy_location": "EveryNode", "http_options": http, "logging_config": dict(LOGGING)}
    if config.serve.grpc_port:
        declared["grpc_options"] = {"port": config.serve.grpc_port, "grpc_servicer_functions": [SERVICER]}
    return {**declared, "applications": applications}


def _beside(name: str, builder: str, values: dict[str, Any]) -> dict[str, Any]:
    """An application without a route, beside that of the endpoint."""
    return {"name": name, "route_prefix": None, "import_path": builder, "args": {"values": values}}


def scales(config: ServeConfig) -> dict[str, ScaleConfig]:
    """Returns the scale of each deployment in the topology, by the name of the deployment."""
    names = list(SCALES) if config.topology is Topology.staged else ["Recommender"]
    return {name: getattr(config, SCALES[name]) for name in names}


def deployment(name: str, scale: ScaleConfig) -> dict[str, Any]:
    """Returns what `deployments` says of one deployment."""
    return {
        "name": name,
        "max_ongoing_requests": scale.max_ongoing_requests,
        "max_queued_requests": scale.in_flight,  # in a burst, all of them are queued for a moment
        "max_surge_percent": scale.max_surge_percent,
        "rolling_update_percentage": scale.rolling_update_percentage,
        "ray_actor_options": {
            "num_cpus": scale.num_cpus,
            "num_gpus": scale.num_gpus,
            "label_selector": dict(scale.labels),
        },
        "autoscaling_config": autoscaling(scale),
    }


def autoscaling(scale: ScaleConfig) -> dict[str, Any]:
    """Returns Ray Serve's autoscaling values of one deployment."""
    return {
        "min_replicas": scale.min_replicas,
        "max_replicas": scale.max_replicas,
        "target_ongoing_requests": scale.target_ongoing_requests,
        "metrics_interval_s": METRICS_INTERVAL_S,
        "look_back_period_s": scale.look_back_s,
        "upscale_delay_s": scale.upscale_delay_s,
        "downscale_delay_s": scale.downscale_delay_s,
    }


def arguments(config: EndpointConfig) -> dict[str, Any]:
    """Returns the values that replicas are started with: those of the endpoint without its scale and its addresses."""
    kept = {name for name in asdict(config.serve) if name not in {*SCALES.values(), *ON_PROXIES}}
    served = {name: value for name, value in values_of(config.serve).items() if name in kept}
    index = values_of(config.index)
    if (database := config.index.address.database) is not None:
        index["uri"] = str(database.absolute())
    asked = values_of(absolute_auth(config.auth))
    return {"storage": {"root": absolute(config.storage.root)}, "index": index, "serve": served, "auth": asked}


def values_of(section: Any) -> dict[str, Any]:
    """Returns the values of a config dataclass as they stand in yaml: enums by their names."""
    container: Any = OmegaConf.to_container(OmegaConf.structured(section), enum_to_str=True)
    return dict(container)


def _refuse_passwords(config: EndpointConfig) -> None:
    """Refuses addresses with a password or a token: the Serve config and Ray's dashboard would show them."""
    if config.index.address.token:
        raise ConfigError(
            f"index.uri: the address {config.index.address} has a user and a password, which the Serve config and"
            f" Ray's dashboard would show; leave them out, and set {TOKEN}=user:password in the environment of all"
            " nodes"
        )
    addresses = {
        "storage.root": (config.storage.root, CLOUD),
        "auth.jwt.jwks": (config.auth.jwt.jwks, "use a URL that anybody may read, or a file"),
        "auth.limits.counters": (config.auth.limits.counters, f"set REDIS_PASSWORD {ON_ALL_NODES}"),
        "events.uri": (config.events.uri, f"set {EVENTS_PASSWORD} {ON_ALL_NODES}"),
        "auth.file": (config.auth.file, CLOUD),
    }
    for key, (value, cure) in addresses.items():
        if value is not None and holds_secret(value):
            raise ConfigError(
                f"{key}: {masked(value)} holds a password or a token, which the Serve config and Ray's dashboard would"
                f" show; leave it out, and {cure}"
            )


def absolute_auth(auth: AuthConfig) -> AuthConfig:
    """Returns the same with files of keys that mean the same to processes with another working folder."""
    jwks = auth.jwt.jwks and absolute(auth.jwt.jwks)
    return replace(auth, file=absolute(auth.file), jwt=replace(auth.jwt, jwks=jwks))


def absolute(root: str) -> str:
    """Returns a storage root that means the same to processes with another working folder."""
    return root if "://" in root else Folder.of(root).path

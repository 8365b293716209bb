"""What Ray Serve runs: applications as they were declared, where its proxies listen, and on how many machines."""

from typing import Any

import ray
from ray.serve.config import gRPCOptions

from data.artifacts.errors import ConfigError
from data.cluster.ray_compatibility.core import serve_client
from serve.deployment.declared import APPLICATION, BUILDER, SERVICER
from serve.deployment.in_place.values import Values, declared_values

ALL_THE_SAME = "add replace=true to have this command's values in the place of all of its"
"""How to change an endpoint whose values are not known."""


def declared_applications() -> dict[str, dict[str, Any]]:
    """Returns what Serve configs have declared of the applications that run here, by name; without others."""
    client = serve_client(must_run=False)
    applications = {} if client is None else client.get_serve_details()["applications"]
    declared = {name: of.get("deployed_app_config") for name, of in applications.items()}
    return {name: config for name, config in declared.items() if config is not None}


def running_values() -> Values:
    """Returns the values of the endpoint that runs here, by dotted key; those that its Serve config names.

    Raises:
        ConfigError: they are not known.
    """
    applications = declared_applications()
    endpoint = applications.get(APPLICATION)
    if endpoint is None or endpoint["import_path"] != BUILDER:
        raise ConfigError(
            "cluster.address: the endpoint that runs there was not started by serve.run or a Serve config of ours, as"
            " that of serve.demo is not, and nobody can tell which of its values would change; name another Ray, or"
            f" {ALL_THE_SAME}"
        )
    try:
        return declared_values(applications)
    except ConfigError as e:
        raise ConfigError(f"the endpoint that runs has values that are not taken here ({e}); {ALL_THE_SAME}") from e


def proxy_values() -> Values:
    """Returns the values of the endpoint that Ray Serve has read when it started, by dotted key.

    `serve.grpc_port` is 0 where it has not read that it is to answer gRPC for an endpoint.
    """
    client = serve_client()
    grpc = client.get_serve_details().get("grpc_options") or {}
    answers = SERVICER in (grpc.get("grpc_servicer_functions") or ())
    return {
        "serve.host": client.http_config.host,
        "serve.port": client.http_config.port,
        "serve.grpc_port": grpc.get("port", gRPCOptions().port) if answers else 0,
    }


def num_machines() -> int:
    """Returns the number of machines that the Ray of this process runs on.

    Where none of them has CPUs, as a head that an autoscaler is about to add machines to, one more counts.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]
    will_grow = not any(node["Resources"].get("CPU") for node in alive)
    return len({node["NodeManagerHostname"] for node in alive}) + will_grow

"""An endpoint on a Ray Serve that runs already, with applications of others: where it may start, and how it ends."""

from ray import serve

from data.artifacts.errors import ConfigError
from data.cluster.ray_compatibility.core import serve_client
from serve.deployment.declared import APPLICATION, OURS, ROUTE
from serve.deployment.in_place.running import proxy_values
from serve.deployment.settings import ServeConfig


def serve_runs() -> bool:
    """Whether Ray Serve runs on the Ray cluster that this process is connected to."""
    return serve_client(must_run=False) is not None


def check_beside(config: ServeConfig) -> None:
    """Refuses an endpoint that the Ray Serve which runs would not have, or not where the config says.

    Ray Serve reads where its proxies listen when it starts, and later says nothing of another place. At one path it has
    one application.

    Raises:
        ConfigError: its proxies listen elsewhere, another application has the path of the endpoint, or one runs.
    """
    for key, value in proxy_values().items():
        wanted = getattr(config, key.removeprefix("serve."))
        if wanted != value and (wanted or key != "serve.grpc_port"):  # without gRPC it need not know of that of others
            raise ConfigError(
                f"{key}: {wanted} takes no effect, since Ray Serve runs there already and has read {value} when it"
                f" started; give {key}={value}, or name another Ray by cluster.address"
            )
    for name, application in serve_client().get_serve_details()["applications"].items():
        if name == APPLICATION:
            raise ConfigError(
                "cluster.address: an endpoint runs there already; change it by python -m serve.run, or name another Ray"
            )
        if name not in OURS and application.get("route_prefix") == ROUTE:
            raise ConfigError(
                f"cluster.address: the application {name} of the Ray Serve there has the path {ROUTE}, which the"
                " endpoint takes; give it another route_prefix, or name another Ray"
            )


def others_run() -> bool:
    """Whether Ray Serve has applications that are none of an endpoint."""
    return serve_runs() and not set(serve.status().applications) <= set(OURS)


def remove_endpoint() -> None:
    """Ends the applications of the endpoint; those of others go on, and so does Ray Serve."""
    if not serve_runs():
        return
    found = serve.status().applications
    for name in OURS:
        if name in found:
            serve.delete(name)

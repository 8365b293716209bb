"""Serves the live release until Ctrl-C: `python -m serve.run`; `serve=staged` scales each stage by itself."""

from typing import TYPE_CHECKING, Any

from data.cluster.ray_compatibility.serve import runtime_env
from data.cluster.session import connect
from serve.access.exposure import check_access

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Serves until Ctrl-C."""
    from serve.deployment.endpoint import curl, running_endpoint, wait_for_stop, watching_canaries

    check_access(config.auth, config.serve.host)
    connect(config.cluster, runtime_env(config.serve.ingress.in_flight))
    with running_endpoint(config) as address, watching_canaries(config):
        print(f"serve: ready. Try\n  {curl(address)}\nDocumentation: {address}/docs. Stop with Ctrl-C.", flush=True)
        wait_for_stop()
    return {"address": address}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.run")

"""Serves the live release until Ctrl-C: `python -m serve.run`; `serve=staged` scales each stage by itself.

On a cluster where an endpoint runs already (`cluster.address`), the command changes it in place and ends. What is typed
changes. Where another value would change too, because it runs with one that is neither typed nor the default, the
command is refused, and the message has the one that keeps it; replace=true changes all of them. Limits change without a
new replica; other values, and other code, replace the replicas one after the other.

Examples:
    python -m serve.run
    python -m serve.run serve=staged serve.port=9000
    python -m serve.run cluster.address=auto serve=staged serve.ingress.max_replicas=16
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.cluster.console import wait_for_stop
from data.cluster.ray_compatibility.serve import prepare_worker, runtime_env
from data.cluster.session import connect, joins_cluster
from data.cluster.step_times import StepTimes
from serve.access.exposure import check_access

if TYPE_CHECKING:
    from conf.schema import Config
    from serve.deployment.in_place.events import FormerStore


def task(config: "Config") -> dict[str, Any]:
    """Serves until Ctrl-C, or changes the endpoint that runs."""
    check_access(config.auth, config.serve.host)
    if not joins_cluster(config.cluster):
        config = replace(config, index=config.index.with_token_in_environment())
    times = StepTimes()
    connect(config.cluster, runtime_env(config.serve.ingress.in_flight, config.serve.ports), uses_data=False)
    times.end("Ray")
    prepare_worker()
    from serve.deployment.deploying import deploy, endpoint_runs, require_live
    from serve.deployment.endpoint import curl, running_endpoint
    from serve.deployment.in_place.events import emptying

    if endpoint_runs():
        if not config.replace:
            _refuse_untyped_changes()
        require_live(config)  # what replaces replicas would wait for a release, while those go on
        print("serve: an endpoint runs here; changing it in place", flush=True)
        with emptying(_former_store(config), config.replace):
            deploy(config)
        return {"changed": True}
    with running_endpoint(config, declared=True, times=times) as address:
        hint = f"Try\n  {curl(address, config.auth.asks)}\nDocumentation: {address}/docs. Stop with Ctrl-C."
        print(f"serve: ready after {times}. {hint}", flush=True)
        wait_for_stop()
    return {"address": address}


def _refuse_untyped_changes() -> None:
    from conf.next_command import same_command, typed_overrides, values_with
    from serve.deployment.in_place.check import refuse_untyped_changes
    from serve.deployment.in_place.values import SECTIONS

    refuse_untyped_changes(
        typed_overrides(), partial(values_with, sections=SECTIONS), partial(same_command, "serve.run")
    )


def _former_store(config: "Config") -> "FormerStore | None":
    from serve.deployment.deploying import events_here
    from serve.deployment.in_place.events import former_store
    from serve.deployment.in_place.running import declared_applications

    try:
        return former_store(declared_applications(), events_here(config.events, lambda _: None))
    except ConfigError as e:
        print(f"serve: the store of events that runs is not known; what waits in a former one stays there: {e}")
        return None


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.run")

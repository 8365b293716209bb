"""Applies a Serve config to a cluster, and says what came of it; an endpoint that runs is changed in place."""

import time
from typing import Any

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from data.cluster.ray_compatibility.core import serve_client
from serve.deployment.declared import APPLICATION, OURS, deploy_config
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.in_place.running import declared_applications, num_machines
from serve.events.config import EventsConfig
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError

LOOK_S = 0.1
"""Seconds between two looks at the state of the applications."""

UPDATE_S = 600.0
"""Seconds that an update may take, with nodes that have to come first."""


def endpoint_runs() -> bool:
    """Whether an endpoint runs on the Ray cluster that this process is connected to."""
    client = serve_client(must_run=False)
    return client is not None and APPLICATION in serve.status().applications


def require_live(config: EndpointConfig) -> str:
    """Returns the id of the live release, without which replicas would wait for the first one.

    Raises:
        ReleaseError: none is live.
    """
    live = ReleaseRegistry.of(Folder.of(config.storage.root)).live()
    if live is None:
        raise ReleaseError("no release is live: run python -m serve.publish, then python -m serve.promote")
    return live.release


def deploy(config: EndpointConfig, progress: ProgressReporter = print) -> None:
    """Starts the endpoint that a config declares, or changes the one that runs; Serve must have been started.

    Limits and scale change without a new replica. Other values, and other code, replace the replicas one after the
    other while those from before answer. Applications of others that run there go on.

    Raises:
        ReleaseError: it does not come up, or the change is refused; what answered before goes on.
    """
    declared = deploy_config(config, events=events_here(config.events, progress))
    if shipped := _shipped_code():
        for application in declared["applications"]:
            application["runtime_env"] = {**application.get("runtime_env", {}), **shipped}
    applications = declared["applications"]
    others = [{"logging_config": {}, **one} for name, one in declared_applications().items() if name not in OURS]
    if not endpoint_runs():  # what requests wait for has the cores for itself
        _apply(declared, [one for one in applications if one["name"] == APPLICATION], others)
    _apply(declared, applications, others)
    progress(f"serve: {', '.join(application['name'] for application in applications)} run")


def _apply(declared: dict[str, Any], applications: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Has Serve run these applications, and waits until it does and the proxies know it.

    Args:
        declared: a Serve config, but for its applications.
        applications: what is waited for.
        others: further ones, which run already: Serve ends those of a former config that it is not told of again.
    """
    names = [application["name"] for application in applications]
    client = serve_client()
    client.deploy_apps(ServeDeploySchema.model_validate(declared | {"applications": [*applications, *others]}))
    ends = time.monotonic() + UPDATE_S
    while not _all_run(names):
        if time.monotonic() > ends:
            raise ReleaseError(f"the endpoint is not up after {UPDATE_S:g} s: {_told(names)}")
        time.sleep(LOOK_S)
    client.wait_for_proxies_serving(wait_for_applications_running=True)


def events_here(events: EventsConfig, progress: ProgressReporter) -> EventsConfig:
    """Returns the config of events, which are off where their store is a file of one machine and Ray runs on more."""
    machines = num_machines()
    if events.is_on_one_machine and machines > 1:
        progress(
            f"serve: events are off: events.store={events.store} is a file of one machine, and Ray runs on"
            f" {machines}; use events=redis"
        )
        return events.for_machines()
    return events.on_this_machine()


def _all_run(names: list[str]) -> bool:
    """Whether all applications run; raises ReleaseError where one has failed."""
    found = serve.status().applications
    failed = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)
    if any(name in found and found[name].status in failed for name in names):
        raise ReleaseError(f"the endpoint did not come up: {_told(names)}")
    return all(name in found and found[name].status == ApplicationStatus.RUNNING for name in names)


def _told(names: list[str]) -> str:
    """What Serve says of the applications that do not run: the end of a message, where the cause stands."""
    messages = []
    for name, application in serve.status().applications.items():
        if name in names and application.status != ApplicationStatus.RUNNING:
            below = [d.message for d in application.deployments.values() if d.message]
            text = " ".join((application.message or " ".join(below)).split())
            messages.append(f"{name} is {application.status.value.lower()}: {text[-400:]}")
    return "; ".join(messages)


def _shipped_code() -> dict[str, Any]:
    """The code that came with this Ray job, and the plugins that came with this command: where Ray keeps them.

    An endpoint that runs has the environment of the command that started it, so each change of it brings its own. A
    change of an address is a change of code.
    """
    own = ray.get_runtime_context().runtime_env
    return {name: own[name] for name in ("working_dir", "py_modules") if own.get(name)}

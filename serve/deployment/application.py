"""The applications that a Serve config names: `serve.deployment.application:app`, and `guard`.

    applications:
      - name: recommender
        route_prefix: /
        import_path: serve.deployment.application:app
        args: { overrides: ["storage.root=s3://bucket/twotower", "index.uri=http://milvus:19530"] }

The arguments are Hydra overrides as on the command line, or `values` by key, or both. `serve deploy`, the dashboard's
PUT, KubeRay's RayService and `serve.run` all build the endpoint by these functions.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve

from conf.schema import Config, load
from data.artifacts.folders import Folder
from serve.deployment.declared import absolute
from serve.deployment.deployments import build_application
from serve.deployment.stages import ReplicaSettings
from serve.rollout.guard import CanaryGuard


class Arguments(BaseModel):
    """What `args` of a Serve config holds.

    Attributes:
        overrides: Hydra overrides, as on the command line.
        values: values by key, which win over the overrides.
    """

    model_config = ConfigDict(extra="forbid")

    overrides: Sequence[str] = ()
    values: Mapping[str, Any] = {}

    def config(self) -> Config:
        """Returns the typed config; raises ConfigError, which says what is wrong with an argument."""
        return load(self.overrides, self.values)


def app(arguments: Arguments) -> serve.Application:
    """Builds the endpoint in the topology that the arguments ask for."""
    config = arguments.config()
    return build_application(
        ReplicaSettings(
            storage_root=absolute(config.storage.root), index=config.index, serve=config.serve, auth=config.auth
        )
    )


class GuardReplica:
    """Watches the releases on trial in a thread of its own.

    Args:
        arguments: what `Arguments` holds.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        config = Arguments.model_validate(arguments).config()
        self._stop = threading.Event()
        watching = CanaryGuard(config.guard, Folder.of(config.storage.root))
        self._thread = threading.Thread(target=watching.watch, args=(self._stop.wait,), name="guard", daemon=True)
        self._thread.start()

    def __del__(self) -> None:
        self._stop.set()

    def check_health(self) -> None:
        """Called by Serve again and again; raises RuntimeError where the thread has ended."""
        if not self._thread.is_alive():
            raise RuntimeError("the guard does not watch any more")

    def __call__(self) -> str:
        """Says that it watches."""
        return "watching"


def guard(arguments: Arguments) -> serve.Application:
    """Builds the guard of canaries: one replica, which answers no requests."""
    guarding = serve.deployment(GuardReplica, name="Guard", ray_actor_options={"num_cpus": 0})
    return guarding.bind(arguments.model_dump())

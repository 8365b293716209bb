"""The applications that a Serve config names: `serve.deployment.application:app`, `guard`, and `compaction`.

    http_options: { host: 0.0.0.0 }
    applications:
      - name: recommender
        route_prefix: /
        import_path: serve.deployment.application:app
        args: { overrides: ["storage.root=s3://bucket/twotower", "index.uri=http://milvus:19530", "auth=keys"] }

Without `http_options`, Ray Serve listens on all interfaces too. Where its proxies listen beyond loopback, the endpoint
is not built unless `auth` says who may ask.

The arguments are Hydra overrides as on the command line, or `values` by key, or both. `serve deploy`, the dashboard's
PUT, KubeRay's RayService and `serve.run` all build the endpoint by these functions. The module imports no torch, which
takes a process seconds: guard and compaction do without it.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict
from ray import serve

from conf.schema import Config, load
from data.artifacts.folders import Folder
from serve.access.exposure import check_deployed, require_hash_key
from serve.events.compaction import LogCompactor
from serve.observability.metrics import compaction_reporter, rollback_reporter
from serve.rollout.guard import CanaryGuard

Stopped = Callable[[float], bool]
"""Waits for the given number of seconds and returns whether to stop (as `threading.Event.wait` does)."""


class Watcher(Protocol):
    """A background job. `watch` runs until `stopped` says that it should stop."""

    def watch(self, stopped: Stopped) -> None: ...


Building = Callable[[Config, Stopped], Watcher]
"""Builds a job from the config; what it starts beside the job ends when `stopped` says so."""


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
    """Builds the endpoint in the topology that the arguments ask for.

    Raises:
        ConfigError: an argument is wrong, or Serve's proxies listen beyond loopback and nobody is asked for a key.
    """
    from serve.deployment.deployments import build_application
    from serve.deployment.replica import ReplicaSettings

    config = arguments.config()
    check_deployed(config.auth, is_replica=False)
    return build_application(ReplicaSettings.of(config, config.events.on_this_machine()))


ON_THE_HEAD = {
    "num_cpus": 0,
    "label_selector": {"role": "head"},
    "fallback_strategy": [{"label_selector": {}}],  # anywhere, on clusters whose head has no such label
}
"""Where replicas run that answer no requests. On another node they would keep the autoscaler from giving it back, since
an actor without CPUs is work too."""


GUARD_HANGS_S = 300.0
"""Seconds after which a check of the guard hangs unless it has gone on by a run or a file that it compacts. It takes a
second, and a minute where much is read for the first time; it may wait for an operator's promotion."""

COMPACTION_HANGS_S = 1800.0
"""Seconds after which compaction hangs unless it has gone on by a file or a part of the event log. It may have much to
do after an outage, or where somebody was forgotten and the log is long."""


class WatchingReplica:
    """A replica that answers no requests and runs a background job in a thread.

    Args:
        arguments: the fields of `Arguments`.
        watcher: builds the job.
        hangs_s: seconds after which the job hangs unless it has asked whether to stop.
    """

    def __init__(self, arguments: Mapping[str, Any], watcher: Building, hangs_s: float = GUARD_HANGS_S) -> None:
        self._stop, self._hangs_s = threading.Event(), hangs_s
        watching = watcher(Arguments.model_validate(arguments).config(), self._stop.wait)
        self._asked_at: float | None = time.monotonic()  # when the job last asked; None while it waits
        self._thread = threading.Thread(target=watching.watch, args=(self._stopped,), name="watcher", daemon=True)
        self._thread.start()

    def _stopped(self, seconds: float) -> bool:
        self._asked_at = None
        is_stopped = self._stop.wait(seconds)
        self._asked_at = time.monotonic()
        return is_stopped

    def stop(self) -> None:
        """Ends the job, and waits until the step that is running has finished."""
        self._stop.set()
        self._thread.join()

    def __del__(self) -> None:
        self._stop.set()

    def check_health(self) -> None:
        """Called by Ray Serve periodically; raises RuntimeError if the thread has ended or hangs.

        Serve then starts another replica, which connects to the storage anew.
        """
        if not self._thread.is_alive():
            raise RuntimeError("the thread of the background job has ended")
        asked_at = self._asked_at
        if asked_at is not None and time.monotonic() - asked_at > self._hangs_s:
            raise RuntimeError(f"the background job hangs: no round has ended for {time.monotonic() - asked_at:.0f} s")

    def __call__(self) -> str:
        """Answers a call of the deployment, which nothing but a test makes."""
        return "watching"


def guard(arguments: Arguments) -> serve.Application:
    """Builds the guard of canaries: one replica, which answers no requests."""
    return _watching("Guard", arguments, _canary_guard, GUARD_HANGS_S)


def compaction(arguments: Arguments) -> serve.Application:
    """Builds the compaction of the logs of events and decisions: one replica, which answers no requests."""
    return _watching("Compaction", arguments, _log_compactor, COMPACTION_HANGS_S)


def _canary_guard(config: Config, stopped: Stopped) -> Watcher:
    return CanaryGuard(config.guard, Folder.of(config.storage.root), report=rollback_reporter(stopped))


def _log_compactor(config: Config, stopped: Stopped) -> Watcher:
    require_hash_key(config.auth)
    return LogCompactor(config.events, Folder.of(config.storage.root), report=compaction_reporter(stopped))


def _watching(name: str, arguments: Arguments, watcher: Building, hangs_s: float) -> serve.Application:
    watching = serve.deployment(WatchingReplica, name=name, ray_actor_options=ON_THE_HEAD)
    return watching.bind(arguments.model_dump(), watcher, hangs_s)

"""What every replica is started with, and how its process is set up.

Neither this module nor what it imports needs torch, which takes a process seconds: who builds the application, in a
process that ends with it, does without.
"""

import gc
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from serve.access.config import AuthConfig
from serve.deployment.declared import absolute, absolute_auth
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.settings import ServeConfig, StalePointer
from serve.events.config import OFF, EventsConfig
from serve.index.config import IndexConfig
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.rollout.follower import ReleaseFollower
from serve.rollout.follower_config import FollowerConfig

GC_THRESHOLDS = (20_000, 20, 20)
"""Allocations before the garbage collector runs on the youngest generation, and such runs before each older one."""

SWITCH_INTERVAL_S = 0.0005
"""Seconds after which a thread that loads a release gives way to the one that answers."""


@dataclass(frozen=True, kw_only=True)
class ReplicaSettings:
    """What every replica is started with.

    Attributes:
        storage_root: The folder or URI that holds the releases.
        index: How to open the index of a release.
        serve: Topology, limits and scale of the endpoint.
        auth: Who may ask.
        events: Where events and the states of users are kept.
    """

    storage_root: str
    index: IndexConfig
    serve: ServeConfig
    auth: AuthConfig
    events: EventsConfig = field(default_factory=lambda: EventsConfig(store=OFF))

    @classmethod
    def of(cls, config: EndpointConfig, events: EventsConfig) -> "ReplicaSettings":
        """The settings of the endpoint that a config describes, with `events` in place of the config's own."""
        return cls(
            storage_root=absolute(config.storage.root),
            index=config.index,
            serve=config.serve,
            auth=absolute_auth(config.auth),
            events=events,
        )

    def follow(
        self, build: Callable[["ReplicaSettings", Release], Awaitable[Any]], replica: str, **hooks: Any
    ) -> ReleaseFollower[Any]:
        """Returns a follower that keeps `build(settings, release)` for each release that the live pointer names."""
        faces_clients = "set_denylist" in hooks  # a stage answers the ingress alone, which leaves recalled items out
        following = FollowerConfig(
            replica=replica,
            poll_s=self.serve.poll_s,
            lease_s=self.serve.lease_s,
            linger_s=self.serve.max_timeout_ms / 1000,
            answers_stale=faces_clients and self.serve.stale_pointer is StalePointer.answer,
        )
        registry = ReleaseRegistry.of(Folder.of(self.storage_root))
        return ReleaseFollower(registry, partial(build, self), following, **hooks)


def prepare_process(config: ServeConfig) -> None:
    """Sets the number of threads of torch and Arrow, how soon a thread gives way, and when the garbage collector runs.

    Releases are loaded in threads beside the one that answers: with Arrow's own number of threads they would take all
    cores, and with Python's own interval the answers would wait 5 ms each time.

    Ray Serve has frozen the objects that existed when the replica started. With Python's own thresholds the collector
    would still run several times in each request.
    """
    import torch

    torch.set_num_threads(config.threads)
    pa.set_cpu_count(config.threads)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)

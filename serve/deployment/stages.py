"""The stages of one release: built in this process (fused topology), or called through Ray Serve handles (staged).

Both are `serve.pipeline.request.Stages`, so the pipeline is the same for either.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from ray.serve.handle import DeploymentHandle

from data.artifacts.folders import Folder
from serve.access.config import AuthConfig
from serve.deployment.declared import absolute, absolute_auth
from serve.deployment.endpoint_config import EndpointConfig
from serve.deployment.settings import ServeConfig, StalePointer
from serve.events.config import OFF, EventsConfig
from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex
from serve.index.recall_monitor import RecallMonitor
from serve.observability.metrics import recall_reporter
from serve.pipeline.messages import Candidates, Nearest, Query, Ranked, SimilarQuery, UserVector
from serve.pipeline.remote_batcher import RemoteBatcher
from serve.pipeline.reranker import RerankStage
from serve.pipeline.retriever import ColdItems, Retriever
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.golden_queries import check_ranking, check_retrieval, check_users, check_vectors
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.rollout.follower import ReleaseFollower
from serve.rollout.follower_config import FollowerConfig
from towers.checkpoint.opening.parts import cold_length

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
    torch.set_num_threads(config.threads)
    pa.set_cpu_count(config.threads)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)


async def build_user_encoder(settings: ReplicaSettings, release: Release) -> UserEncoder:
    """Builds a release's user encoder; raises ReleaseError if it does not reproduce the golden queries' vectors."""

    def build_and_check() -> UserEncoder:
        encoder = UserEncoder(release.id, release.parts)
        check_users(release)
        check_vectors(release, encoder)
        release.parts.users.ids.prepare()
        return encoder

    return await asyncio.to_thread(build_and_check)


async def build_retriever(settings: ReplicaSettings, release: Release) -> Retriever:
    """Builds a release's retriever; raises ReleaseError if its index does not find the golden queries' items."""
    index = await open_index(settings.index, release)
    await check_retrieval(release, index)
    is_monitored = index.approximate and settings.index.monitored_share > 0
    monitor = RecallMonitor(settings.index.monitored_share, index, recall_reporter()) if is_monitored else None

    def of_items() -> tuple[np.ndarray, ColdItems | None]:
        return release.parts.placed_I, ColdItems.of(release.parts.counts_I, cold_length(release.manifest))

    return Retriever(release.id, index, monitor, *await asyncio.to_thread(of_items))


async def open_index(config: IndexConfig, release: Release) -> ItemIndex:
    """Opens a release's items by the back end of `index.kind`; raises IndexUnavailable if it cannot read them."""

    def published() -> PublishedItems:
        return PublishedItems(
            release_id=release.id,
            collection=release.collection,
            num_items=release.manifest["num_items"],
            dim=release.parts.dim,
            columns=lambda: release.columns,
            ties=release.parts.ties,
            vectors=release.stored_vectors,
        )

    index: ItemIndex = await INDEX_BACKENDS[config.kind](config, await asyncio.to_thread(published))
    return index


async def build_reranker(settings: ReplicaSettings, release: Release) -> RerankStage:
    """Builds a release's re-ranker; raises ReleaseError if it does not reproduce the golden queries' scores."""

    def build_and_check() -> RerankStage:
        stage = RerankStage(release.id, release.parts)
        check_ranking(release, stage)
        return stage

    return await asyncio.to_thread(build_and_check)


@dataclass(frozen=True)
class LocalStages:
    """All three stages of one release in this process."""

    user_encoder: UserEncoder
    retriever: Retriever
    reranker: RerankStage

    @classmethod
    async def build(cls, settings: ReplicaSettings, release: Release) -> "LocalStages":
        """Builds the stages; raises ReleaseError if one of them does not reproduce the golden queries."""
        return cls(
            await build_user_encoder(settings, release),
            await build_retriever(settings, release),
            await build_reranker(settings, release),
        )

    async def close(self) -> None:
        """Closes the item index. The stages answer nothing any more."""
        await self.retriever.close()

    def embed(self, query: Query) -> Awaitable[UserVector]:
        return self.user_encoder(query)

    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]:
        return self.retriever(query, user)

    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]:
        return self.reranker(query, user, candidates)

    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray | None]:
        return self.user_encoder.describe(query)

    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates | None]:
        return self.retriever.similar(query, vector_D)

    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]:
        return self.retriever.nearest(rows_K, history)


class RemoteStages:
    """The stages of one release as deployments of their own, which run `serve.deployment.deployments.StageReplica`."""

    def __init__(
        self, release_id: str, user_encoder: DeploymentHandle, retriever: DeploymentHandle, reranker: DeploymentHandle
    ) -> None:
        def batcher(stage: DeploymentHandle, method: str) -> RemoteBatcher[tuple[Any, ...], Any]:
            return RemoteBatcher(partial(_call, stage, release_id, method))

        self._embed = batcher(user_encoder, "__call__")
        self._describe = batcher(user_encoder, "describe")
        self._retrieve = batcher(retriever, "__call__")
        self._similar = batcher(retriever, "similar")
        self._nearest = batcher(retriever, "nearest")
        self._rerank = batcher(reranker, "__call__")

    async def close(self) -> None:
        """Does nothing: the deployments close what they hold."""

    def embed(self, query: Query) -> Awaitable[UserVector]:
        return self._embed((query,))

    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]:
        return self._retrieve((query, user))

    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]:
        return self._rerank((query, user, candidates))

    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray | None]:
        return self._describe((query,))

    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates | None]:
        return self._similar((query, vector_D))

    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]:
        return self._nearest((rows_K, history))


async def _call(stage: DeploymentHandle, release_id: str, method: str, calls: list[tuple[Any, ...]]) -> list[Any]:
    """Calls a method of a stage's replica with several tuples of arguments; cancelling it cancels the remote call."""
    response = stage.remote(release_id, method, calls)
    try:
        return cast(list[Any], await response)
    except asyncio.CancelledError:
        response.cancel()
        raise

"""Where the stages run: in this process (fused), or behind Ray Serve handles (staged). The pipeline cannot tell."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from ray.serve.context import _get_internal_replica_context
from ray.serve.handle import DeploymentHandle

from data.artifacts.folders import Folder
from serve.deployment.settings import ServeConfig
from serve.index.config import IndexConfig, IndexKind
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import ItemIndex
from serve.index.recall_monitor import RecallMonitor
from serve.index.replica_index import ReplicaIndex
from serve.observability.metrics import recall_reporter
from serve.pipeline.messages import Candidates, Nearest, Query, Ranked, SimilarQuery, UserVector
from serve.pipeline.remote_batcher import Carrier
from serve.pipeline.reranker import RerankStage
from serve.pipeline.retriever import Retriever
from serve.pipeline.user_encoder import UserEmbedder
from serve.releases.golden_queries import check_ranking, check_retrieval, check_vectors
from serve.releases.registry import Registry
from serve.releases.release import Release
from serve.rollout.follower import Following, LiveReleases

COLLECTED_AFTER = (20_000, 20, 20)
"""Allocations before the garbage collector looks at the youngest objects, and how many such runs before older ones."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every replica is told: where the releases lie, how to reach the index, and the limits."""

    storage_root: str
    index: IndexConfig
    serve: ServeConfig

    def follow(
        self, build: Callable[["Setting", Release], Awaitable[Any]], replica: str, **hooks: Any
    ) -> LiveReleases[Any]:
        """The releases, built by `build`, as a replica of this endpoint follows them."""
        following = Following(
            replica=replica,
            poll_s=self.serve.poll_s,
            lease_s=self.serve.lease_s,
            linger_s=self.serve.max_timeout_ms / 1000,
        )
        return LiveReleases(Registry.of(Folder.of(self.storage_root)), partial(build, self), following, **hooks)


def replica_name() -> str:
    """This replica's, as part of a file's name."""
    replica_id = _get_internal_replica_context().replica_id
    return f"{replica_id.deployment_id.name}-{replica_id.unique_id}"


def prepare_process(config: ServeConfig) -> None:
    """Of a replica: torch's threads, and how often the garbage collector runs.

    Ray Serve has taken from its view what was there when the replica started; with Python's own thresholds it would
    still run several times in each request.
    """
    torch.set_num_threads(config.threads)
    gc.set_threshold(*COLLECTED_AFTER)


async def build_embedder(setting: Setting, release: Release) -> UserEmbedder:
    embedder = UserEmbedder(release.id, release.parts)
    await asyncio.to_thread(check_vectors, release, embedder)
    return embedder


async def build_retriever(setting: Setting, release: Release) -> Retriever:
    index = await open_index(setting.index, release)
    await check_retrieval(release, index)
    watched = index.approximate and setting.index.monitored_share > 0
    monitor = RecallMonitor(setting.index.monitored_share, index, recall_reporter()) if watched else None
    return Retriever(release.id, index, monitor)


async def open_index(config: IndexConfig, release: Release) -> ItemIndex:
    """The release's items, kept as the config says."""
    num_items, dim = release.parts.items.table.num_rows, release.parts.model.config.embedding_dim
    if config.kind is IndexKind.milvus:
        return await asyncio.to_thread(MilvusIndex.open, config, release.collection, release.id, num_items, dim)
    columns = await asyncio.to_thread(lambda: release.columns)
    return await ReplicaIndex.hydrate(config, release.collection, release.id, columns, dim)


async def build_reranker(setting: Setting, release: Release) -> RerankStage:
    def checked() -> RerankStage:
        stage = RerankStage(release.id, release.parts)
        check_ranking(release, stage)
        return stage

    return await asyncio.to_thread(checked)


@dataclass(frozen=True)
class LocalStages:
    """All three stages of one release in this process."""

    embedder: UserEmbedder
    retriever: Retriever
    reranker: RerankStage

    @classmethod
    async def build(cls, setting: Setting, release: Release) -> "LocalStages":
        return cls(
            await build_embedder(setting, release),
            await build_retriever(setting, release),
            await build_reranker(setting, release),
        )

    def embed(self, query: Query) -> Awaitable[UserVector]:
        return self.embedder(query)

    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]:
        return self.retriever(query, user)

    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]:
        return self.reranker(query, user, candidates)

    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray]:
        return self.embedder.describe(query)

    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates]:
        return self.retriever.similar(query, vector_D)

    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]:
        return self.retriever.nearest(rows_K, history)


class RemoteStages:
    """The stages of one release as deployments of their own; `serve.deployment.deployments.StageReplica` is the other end."""

    def __init__(
        self, release_id: str, embedder: DeploymentHandle, retriever: DeploymentHandle, reranker: DeploymentHandle
    ) -> None:
        def carrier(stage: DeploymentHandle, method: str) -> Carrier[tuple[Any, ...], Any]:
            return Carrier(partial(_call, stage, release_id, method))

        self._embed = carrier(embedder, "__call__")
        self._describe = carrier(embedder, "describe")
        self._retrieve = carrier(retriever, "__call__")
        self._similar = carrier(retriever, "similar")
        self._nearest = carrier(retriever, "nearest")
        self._rerank = carrier(reranker, "__call__")

    def embed(self, query: Query) -> Awaitable[UserVector]:
        return self._embed((query,))

    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]:
        return self._retrieve((query, user))

    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]:
        return self._rerank((query, user, candidates))

    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray]:
        return self._describe((query,))

    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates]:
        return self._similar((query, vector_D))

    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]:
        return self._nearest((rows_K, history))


async def _call(stage: DeploymentHandle, release_id: str, method: str, calls: list[tuple[Any, ...]]) -> list[Any]:
    response = stage.remote(release_id, method, calls)
    try:
        return cast(list[Any], await response)
    except asyncio.CancelledError:
        response.cancel()
        raise

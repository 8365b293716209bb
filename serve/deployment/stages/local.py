"""The stages of one release, built in this process: all of them (fused topology), or one of them (a stage's replica).

`LocalStages` and `serve.deployment.stages.remote.RemoteStages` are both `serve.pipeline.request.Stages`, so the
pipeline is the same for either.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.deployment.replica import ReplicaSettings
from serve.deployment.stages.remote import EMBEDDER, RERANKER, RETRIEVER
from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.config import IndexConfig
from serve.index.protocol import ItemIndex
from serve.index.recall_monitor import RecallMonitor
from serve.observability.metrics import recall_reporter
from serve.pipeline.messages import Candidates, Nearest, Query, Ranked, SimilarQuery, UserVector
from serve.pipeline.reranker import RerankStage
from serve.pipeline.retriever import ColdItems, Retriever
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.golden_queries import check_ranking, check_retrieval, check_users, check_vectors
from serve.releases.release import Release
from towers.checkpoint.opening.parts import cold_length


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
            collection_now=release.collection_now,
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


BUILDERS: dict[str, Callable[[ReplicaSettings, Release], Awaitable[Any]]] = {
    EMBEDDER: build_user_encoder,
    RETRIEVER: build_retriever,
    RERANKER: build_reranker,
}
"""What builds the stage of one release, by the name of the stage's deployment."""


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

    def lacks_mask(self, asked: Query | SimilarQuery) -> bool:
        return self.retriever.lacks_mask(asked)

"""The stages of one release in deployments of their own, called through Ray Serve handles (staged topology).

What they are called with and answer is the same as of `serve.deployment.stages.local.LocalStages`.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, cast

import numpy as np
from ray.serve.handle import DeploymentHandle

from serve.pipeline.messages import Candidates, Nearest, Query, Ranked, SimilarQuery, UserVector
from serve.pipeline.stage_calls import Arguments, StageCalls, was_given_back

EMBEDDER, RETRIEVER, RERANKER = "UserEmbedder", "Retriever", "Reranker"
"""The names of the stages' deployments in metrics, dashboards and Serve configs: UserEmbedder is the user encoder."""


class RemoteStages:
    """The stages of one release as deployments of their own, which run `serve.deployment.deployments.StageReplica`."""

    def __init__(
        self, release_id: str, user_encoder: DeploymentHandle, retriever: DeploymentHandle, reranker: DeploymentHandle
    ) -> None:
        def calls_of(stage: DeploymentHandle, method: str) -> StageCalls:
            return StageCalls(partial(_call, stage, release_id, method))

        self._embed = calls_of(user_encoder, "__call__")
        self._describe = calls_of(user_encoder, "describe")
        self._retrieve = calls_of(retriever, "__call__")
        self._similar = calls_of(retriever, "similar")
        self._nearest = calls_of(retriever, "nearest")
        self._rerank = calls_of(reranker, "__call__")

    async def close(self) -> None:
        """Does nothing: the deployments close what they hold."""

    def embed(self, query: Query) -> Awaitable[UserVector]:
        return self._embed(query)

    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]:
        return self._retrieve(query, user)

    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]:
        return self._rerank(query, user, candidates)

    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray | None]:
        return self._describe(query)

    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates | None]:
        return self._similar(query, vector_D)

    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]:
        return self._nearest(rows_K, history)

    def lacks_mask(self, asked: Query | SimilarQuery) -> bool:
        """Whether the retriever has said so of the request that this task has just sent to it."""
        return was_given_back()


async def _call(
    stage: DeploymentHandle, release_id: str, method: str, calls: list[Arguments], *, alone: bool = False
) -> list[Any]:
    """Calls a method of a stage's replica with several tuples of arguments; cancelling it cancels the remote call."""
    response = stage.remote(release_id, method, calls, alone)
    try:
        return cast(list[Any], await response)
    except asyncio.CancelledError:
        response.cancel()
        raise

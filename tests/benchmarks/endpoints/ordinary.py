"""Ray Serve the ordinary way: a FastAPI ingress that calls three deployments in turn, with Ray Serve's own defaults.

`python -m tests.benchmarks.endpoints.ordinary <storage root> <release> <port> <candidates>`. The stages' work is the
product's own; what differs is how they are put together. Deployments take 100 requests at a time: with the default of
five this composition would mostly wait.
"""

import os
import sys

os.environ |= {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "0", "RAY_SERVE_ENABLE_HA_PROXY": "0"}

import orjson
import torch
from fastapi import FastAPI, Response
from pydantic import BaseModel
from ray import serve
from ray.serve.handle import DeploymentHandle

from data.artifacts.folders import Folder
from data.cluster.console import wait_for_stop
from data.cluster.session import ClusterConfig, connect
from serve.api.adapter import RequestAdapter
from serve.deployment.stages.local import open_index
from serve.index.config import IndexConfig
from serve.pipeline.messages import Candidates, Query, Ranked, UserVector
from serve.pipeline.reranker import RerankStage
from serve.pipeline.retriever import Retriever
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release

api = FastAPI()
stage = serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.4})


class Ask(BaseModel):
    user_id: str
    k: int = 10


def opened(root: str, release_id: str) -> Release:
    torch.set_num_threads(1)
    return ReleaseRegistry.of(Folder.of(root)).open(release_id)


@stage
class Embed:
    def __init__(self, root: str, release_id: str) -> None:
        self.stage = UserEncoder(release_id, opened(root, release_id).parts)

    async def __call__(self, query: Query) -> UserVector:
        return await self.stage(query)


@stage
class Retrieve:
    async def __init__(self, root: str, release_id: str) -> None:  # type: ignore[misc]
        index = IndexConfig(uri=f"{root}/milvus.db")
        self.stage = Retriever(release_id, await open_index(index, opened(root, release_id)))

    async def __call__(self, query: Query, user: UserVector) -> Candidates:
        return await self.stage(query, user)


@stage
class Rerank:
    def __init__(self, root: str, release_id: str) -> None:
        self.stage = RerankStage(release_id, opened(root, release_id).parts)

    async def __call__(self, query: Query, user: UserVector, candidates: Candidates) -> Ranked:
        return await self.stage(query, user, candidates)


@stage
@serve.ingress(api)
class Ingress:
    def __init__(self, root: str, release_id: str, num_candidates: int, *stages: DeploymentHandle) -> None:
        self.adapter = RequestAdapter(opened(root, release_id), num_candidates)
        self.num_candidates = num_candidates
        self.embed, self.retrieve, self.rerank = stages

    @api.post("/v1/recommend")
    async def recommend(self, ask: Ask) -> Response:
        query = Query(
            release_id=self.adapter.release_id, user_id=ask.user_id, k=ask.k, num_candidates=self.num_candidates
        )  # fmt: skip
        user = await self.embed.remote(query)
        if user.vector_D is None:
            ranked = self.adapter.fallback.top(ask.k, None, user.history)
        else:
            ranked = await self.rerank.remote(query, user, await self.retrieve.remote(query, user))
        scores = [{"score": score} for score in ranked.scores_K[: ask.k].tolist()]
        items = self.adapter.render(ranked.rows_K[: ask.k].tolist(), scores)
        return Response(orjson.dumps({"items": items}), media_type="application/json")

    @api.get("/readyz")
    async def ready(self) -> dict[str, str]:
        return {"status": "ready"}


if __name__ == "__main__":
    root, release_id, port, candidates = sys.argv[1:]
    connect(ClusterConfig(dashboard=False))
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    own = (root, release_id)
    serve.run(Ingress.bind(*own, int(candidates), Embed.bind(*own), Retrieve.bind(*own), Rerank.bind(*own)))
    wait_for_stop()
    serve.shutdown()

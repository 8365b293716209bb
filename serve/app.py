"""The Ray Serve application: the HTTP ingress, the stages as deployments, and how `serve=fused|staged` binds them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi import Query as Parameter
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.context import _get_serve_request_context
from ray.serve.handle import DeploymentHandle

from serve.api import (
    LiveResponse,
    Problem,
    RecommendRequest,
    RecommendResponse,
    SimilarResponse,
    described,
    read,
    takes,
)
from serve.breaker import Breaker
from serve.door import Door
from serve.filters import FilterError
from serve.index import IndexUnavailable
from serve.limits import BodyLimit
from serve.metrics import Metrics
from serve.own_address import bind_to_own_address
from serve.pipeline import STAGES, Patience, recommend
from serve.release import Release
from serve.request import Candidates
from serve.settings import MAX_BODY_BYTES, MAX_K, ScaleConfig, Topology
from serve.stages import LocalStages, RemoteStages, Setting, build_embedder, build_reranker, build_retriever

RETRY_AFTER_S = 1.0
FLUSH_S = 1.0

bind_to_own_address()

api = FastAPI(
    title="Two-tower recommendations",
    version="1",
    responses={413: {"model": Problem}, 422: {"model": Problem}, 503: {"model": Problem}},
)
api.openapi = partial(described, api, RecommendRequest)  # type: ignore[method-assign]
api.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)


class StageReplica:
    """A replica of one stage (staged topology): the stage of whichever release the ingress asks for."""

    async def __init__(self, setting: Setting, build: Callable[[Setting, Release], Awaitable[Any]]) -> None:  # type: ignore[misc]
        self._releases = await setting.follow(build).start()

    async def __call__(self, release_id: str, *arguments: Any) -> Any:
        return await (await self._releases.get(release_id))(*arguments)

    async def similar(self, release_id: str, row: int, k: int) -> Candidates:
        return await (await self._releases.get(release_id)).similar(row, k)


@dataclass(frozen=True)
class Served:
    """One release as the ingress holds it."""

    door: Door
    stages: LocalStages | RemoteStages
    breakers: dict[str, Breaker]


def _json(content: dict[str, Any]) -> Response:  # before the ingress, which takes what is here along to the replicas
    return Response(orjson.dumps(content), media_type="application/json")


@serve.ingress(api)
class Recommender:
    """The ingress. Chooses the release at the door; with no handles it holds all stages itself (fused topology)."""

    async def __init__(self, setting: Setting, *stages: DeploymentHandle) -> None:  # type: ignore[misc]
        self._config = setting.serve
        self._handles = stages
        self._releases = await setting.follow(self._open).start()
        self._metrics = Metrics()
        self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            served = await self._live()
            self._metrics.flush(served.door.release_id, served.breakers)

    async def _open(self, setting: Setting, release: Release) -> Served:
        config = setting.serve
        door = await asyncio.to_thread(Door, release, config.num_candidates)
        stages = (
            RemoteStages(release.id, *self._handles) if self._handles else await LocalStages.build(setting, release)
        )
        breakers = {stage: Breaker(config.breaker_failures, config.breaker_pause_s) for stage in STAGES}
        return Served(door, stages, breakers)

    async def _live(self) -> Served:
        assert self._releases.current is not None, "a replica is not ready before it holds a release"
        return await self._releases.get(self._releases.current)

    @api.post("/v1/recommend", response_model=RecommendResponse, openapi_extra=takes(RecommendRequest))
    async def recommend(self, http: Request) -> Response:
        """The user's next items: retrieved, re-ranked, filtered; popular ones where nothing is known of the user."""
        request, served = await read(RecommendRequest, http), await self._live()
        try:
            query, unknown = served.door.query(request)
        except FilterError as e:
            raise HTTPException(422, [{"type": "filter", "loc": ["body", "filter"], "msg": str(e)}]) from e
        answer = await recommend(query, served.stages, served.door.popular, self._patience(request, served))
        self._metrics.record(answer)
        return _json(
            {
                "request_id": _get_serve_request_context().request_id,  # X-Request-Id, or Ray Serve's own
                "release_id": answer.release_id,
                "source": answer.source,
                "degraded": answer.degraded,
                "reasons": answer.reasons,
                "unknown_items": unknown,
                "items": served.door.shown(answer.rows, answer.scores),
                "timings_ms": answer.timings_ms,
            }
        )

    def _patience(self, request: RecommendRequest, served: Served) -> Patience:
        timeout_ms = min(request.timeout_ms or self._config.timeout_ms, self._config.max_timeout_ms)
        return Patience(timeout_ms / 1000, self._config.timeout_ms / 2000, served.breakers)

    @api.get(
        "/v1/items/{item_id:path}/similar", response_model=SimilarResponse, responses={404: {"model": Problem}}
    )  # fmt: skip
    async def similar(
        self, item_id: Annotated[str, Path(max_length=256)], k: Annotated[int, Parameter(ge=1, le=MAX_K)] = 10
    ) -> Response:
        """The items nearest to an item, by their vectors."""
        served = await self._live()
        door, row = served.door, served.door.items.row(item_id)
        if not row:
            raise HTTPException(404, f"item {item_id!r} is not in release {door.release_id}")
        try:
            async with asyncio.timeout(self._config.max_timeout_ms / 1000):
                found = await served.stages.similar(row, k)
        except (IndexUnavailable, TimeoutError) as e:
            raise HTTPException(503, "the item index does not answer", {"Retry-After": "1"}) from e
        (item,), items = door.shown([row], [1.0]), door.shown(found.rows_K.tolist(), found.scores_K.tolist())
        return _json({"release_id": door.release_id, "item": item, "items": items})

    @api.get("/v1/releases/live")
    async def live(self) -> LiveResponse:
        """The release that answers now, with its offline metrics."""
        return (await self._live()).door.live()

    @api.get("/healthz")
    async def health(self) -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @api.get("/readyz")
    async def ready(self) -> dict[str, str | None]:
        """The replica holds a release."""
        return {"status": "ready", "release_id": self._releases.current}


def build(setting: Setting) -> serve.Application:
    """The application in the topology that the setting asks for."""
    config = setting.serve
    ingress = _deployment(Recommender, "Recommender", config.ingress)
    if config.topology is Topology.fused:
        return ingress.bind(setting)
    stages = (
        ("UserEmbedder", config.embedder, build_embedder),
        ("Retriever", config.retriever, build_retriever),
        ("Reranker", config.reranker, build_reranker),
    )
    return ingress.bind(
        setting, *(_deployment(StageReplica, name, scale).bind(setting, make) for name, scale, make in stages)
    )  # fmt: skip


def _deployment(replica: type, name: str, scale: ScaleConfig) -> serve.Deployment:
    return serve.deployment(
        replica,
        name=name,
        ray_actor_options={
            "num_cpus": scale.num_cpus,
            "num_gpus": scale.num_gpus,
            "label_selector": dict(scale.labels),
        },
        max_ongoing_requests=scale.max_ongoing_requests,
        max_queued_requests=scale.max_queued_requests,
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER_S),
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.target_ongoing_requests,
        ),
    )

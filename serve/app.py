"""The Ray Serve application: the HTTP ingress, the stages as deployments, and how `serve=fused|staged` binds them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

import orjson
import torch
from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi import Query as Parameter
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.context import _get_serve_request_context
from ray.serve.handle import DeploymentHandle

from serve.api import (
    BatchRequest,
    BatchResponse,
    LiveResponse,
    Problem,
    RecommendRequest,
    RecommendResponse,
    SimilarRequest,
    SimilarResponse,
    described,
    read,
    takes,
)
from serve.breaker import Breaker
from serve.door import Door, FieldError
from serve.limits import BodyLimit
from serve.logs import log_degraded
from serve.metrics import Metrics
from serve.own_address import bind_to_own_address
from serve.pipeline import STAGES, Patience, recommend, similar
from serve.release import Release
from serve.request import Query
from serve.request import Response as Answer
from serve.settings import MAX_BODY_BYTES, MAX_K, ScaleConfig, Topology
from serve.stages import LocalStages, RemoteStages, Setting, build_embedder, build_reranker, build_retriever
from serve.tracing import send_spans

M = TypeVar("M")
Q = TypeVar("Q")

RETRY_AFTER_S = 1.0
FLUSH_S = 1.0

bind_to_own_address()

api = FastAPI(
    title="Two-tower recommendations",
    version="1",
    responses={413: {"model": Problem}, 422: {"model": Problem}, 503: {"model": Problem}},
)
api.openapi = partial(described, api, RecommendRequest, BatchRequest, SimilarRequest)  # type: ignore[method-assign]
api.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)


class StageReplica:
    """A replica of one stage (staged topology): the stage of whichever release the ingress asks for."""

    async def __init__(self, setting: Setting, build: Callable[[Setting, Release], Awaitable[Any]]) -> None:  # type: ignore[misc]
        torch.set_num_threads(setting.serve.threads)
        self._releases = await setting.follow(build).start()

    async def __call__(self, release_id: str, method: str, *arguments: Any) -> Any:
        return await getattr(await self._releases.get(release_id), method)(*arguments)


@dataclass(frozen=True)
class Served:
    """One release as the ingress holds it."""

    door: Door
    stages: LocalStages | RemoteStages
    breakers: dict[str, Breaker]


# What the ingress calls stands above it: Ray Serve takes along what is there when it sees the class.
def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _request_id() -> str:
    """X-Request-Id, or what Ray Serve put in its place."""
    request_id: str = _get_serve_request_context().request_id
    return request_id


def understood(door: Callable[[M], tuple[Q, list[str]]], request: M, *place: str | int) -> tuple[Q, list[str]]:
    """The request as the door takes it in; what it cannot make sense of is a 422 that names the place."""
    try:
        return door(request)
    except FieldError as e:
        raise HTTPException(422, [{"type": "value_error", "loc": ["body", *place, e.field], "msg": str(e)}]) from e


@serve.ingress(api)
class Recommender:
    """The ingress. Chooses the release at the door; with no handles it holds all stages itself (fused topology)."""

    async def __init__(self, setting: Setting, *stages: DeploymentHandle) -> None:  # type: ignore[misc]
        send_spans()
        torch.set_num_threads(setting.serve.threads)
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
        query, unknown = understood(served.door.query, request)
        return _json(await self._recommended(served, request, query, unknown))

    @api.post("/v1/recommend/batch", response_model=BatchResponse, openapi_extra=takes(BatchRequest))
    async def recommend_batch(self, http: Request) -> Response:
        """Several users in one call, each within its own deadline; all answers are of one release."""
        batch, served = await read(BatchRequest, http), await self._live()
        queries = [
            understood(served.door.query, request, "requests", number) for number, request in enumerate(batch.requests)
        ]
        answers = (
            self._recommended(served, request, *taken_in)
            for request, taken_in in zip(batch.requests, queries, strict=True)
        )
        return _json({"responses": await asyncio.gather(*answers)})

    async def _recommended(
        self, served: Served, request: RecommendRequest, query: Query, unknown: list[str]
    ) -> dict[str, Any]:
        answer = await recommend(query, served.stages, served.door.popular, self._patience(request.timeout_ms, served))
        self._record(answer, request.user_id)
        content = served.door.answer(answer, unknown, _request_id())
        if (explanation := answer.explanation) is not None:
            content["explained"] = {
                "filter": request.filter,
                "num_excluded": explanation.num_excluded,
                "num_candidates": 0 if explanation.candidates is None else len(explanation.candidates.rows_K),
            }
        return content

    def _patience(self, timeout_ms: int | None, served: Served) -> Patience:
        """The deadline that the request names or the usual one, within the server's maximum."""
        wanted_ms = min(timeout_ms or self._config.timeout_ms, self._config.max_timeout_ms)
        return Patience(wanted_ms / 1000, self._config.timeout_ms / 2000, served.breakers)

    @api.post("/v1/similar", response_model=SimilarResponse, openapi_extra=takes(SimilarRequest))
    async def similar(self, http: Request) -> Response:
        """The items nearest to some items together, or to one that the features describe."""
        return _json(await self._similar(await read(SimilarRequest, http), await self._live()))

    @api.get(
        "/v1/items/{item_id:path}/similar", response_model=SimilarResponse, responses={404: {"model": Problem}}
    )  # fmt: skip
    async def similar_to_one(
        self, item_id: Annotated[str, Path(max_length=256)], k: Annotated[int, Parameter(ge=1, le=MAX_K)] = 10
    ) -> Response:
        """The items nearest to an item, by their vectors."""
        served = await self._live()
        if not served.door.items.row(item_id):
            raise HTTPException(404, f"item {item_id!r} is not in release {served.door.release_id}")
        return _json(await self._similar(SimilarRequest.model_validate({"item_ids": [item_id], "k": k}), served))

    async def _similar(self, request: SimilarRequest, served: Served) -> dict[str, Any]:
        query, unknown = understood(served.door.similar, request)
        answer = await similar(query, served.stages, served.door.popular, self._patience(request.timeout_ms, served))
        self._record(answer, None)
        return served.door.answer(answer, unknown, _request_id())

    def _record(self, answer: Answer, user_id: str | None) -> None:
        self._metrics.record(answer)
        if answer.degraded:
            log_degraded(answer, user_id)

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
        max_queued_requests=scale.in_flight,  # of a burst, all are queued for a moment
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER_S),
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.target_ongoing_requests,
        ),
    )

"""The ingress: requests in by HTTP or gRPC, one release chosen at the door, the pipeline, answers out."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.context import _get_serve_request_context
from ray.serve.handle import DeploymentHandle

from data.artifacts.folders import Folder
from serve.api import recommender_pb2 as pb
from serve.api.adapter import Door, FieldError, Unknown
from serve.api.body_limit import BodyLimit
from serve.api.grpc_service import Context, answered
from serve.api.limits import MAX_BODY_BYTES, MAX_BODY_S, MAX_K
from serve.api.openapi import described, read, takes
from serve.api.schemas import (
    BatchRequest,
    BatchResponse,
    LiveResponse,
    Problem,
    RecommendRequest,
    RecommendResponse,
    SimilarRequest,
    SimilarResponse,
)
from serve.deployment.release_runtime import Served, breakers, warm_up
from serve.deployment.stages import LocalStages, RemoteStages, Setting, prepare_process, replica_name
from serve.experiments.assignment import Arm
from serve.experiments.exposures import Exposures
from serve.observability.logs import log_degraded
from serve.observability.metrics import Metrics
from serve.observability.tracing import send_spans
from serve.pipeline.budget import Patience
from serve.pipeline.messages import Query
from serve.pipeline.messages import Response as Answer
from serve.pipeline.request import recommend, similar
from serve.releases.golden_queries import check_vocabulary
from serve.releases.release import Release

M = TypeVar("M")
Q = TypeVar("Q")

FLUSH_S = 1.0

api = FastAPI(
    title="Two-tower recommendations",
    version="1",
    responses={408: {"model": Problem}, 413: {"model": Problem}, 422: {"model": Problem}, 503: {"model": Problem}},
)
api.openapi = partial(described, api, RecommendRequest, BatchRequest, SimilarRequest)  # type: ignore[method-assign]
api.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, max_s=MAX_BODY_S)


# What the ingress calls stands above it: Ray Serve takes along what is there when it sees the class.
def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _request_id() -> str:
    """X-Request-Id, or what Ray Serve put in its place."""
    request_id: str = _get_serve_request_context().request_id
    return request_id


def understood(door: Callable[[M], tuple[Q, Unknown]], request: M, *place: str | int) -> tuple[Q, Unknown]:
    """The request as the door takes it in; what it cannot make sense of names its place."""
    try:
        return door(request)
    except FieldError as e:
        raise FieldError((*place, *e.place), str(e)) from e


@api.exception_handler(FieldError)
async def refused(_: Request, error: FieldError) -> JSONResponse:
    """422, as FastAPI says it of fields that are wrong by themselves."""
    problem = {"type": "value_error", "loc": ["body", *error.place], "msg": str(error)}
    return JSONResponse({"detail": [problem]}, status_code=422)


@serve.ingress(api)
class Recommender:
    """The ingress. Chooses the release at the door; with no handles it holds all stages itself (fused topology)."""

    async def __init__(self, setting: Setting, *stages: DeploymentHandle) -> None:  # type: ignore[misc]
        send_spans()
        prepare_process(setting.serve)
        self._config = setting.serve
        self._handles = stages
        self._releases = await setting.follow(self._open, replica_name(), withdraw=Served.withdraw).start()
        self._metrics = Metrics()
        self._exposures = Exposures(Folder.of(setting.storage_root), replica_name())
        self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            served = await self._live()
            self._metrics.flush(served.door.release_id, served.breakers)
            await self._exposures.flush()

    async def _open(self, setting: Setting, release: Release) -> Served:
        config = setting.serve
        await asyncio.to_thread(check_vocabulary, release)
        door = await asyncio.to_thread(Door, release, config.num_candidates)
        stages = (
            RemoteStages(release.id, *self._handles) if self._handles else await LocalStages.build(setting, release)
        )
        served = Served(door, stages, breakers(config))
        await warm_up(served, release, breakers(config))  # its own: what it finds amiss does not stop traffic
        return served

    async def _live(self) -> Served:
        return await self._releases.now()

    async def _for(self, request: RecommendRequest) -> tuple[Served, Arm | None]:
        """What answers a request: users are always in the same variant of an experiment, others by chance."""
        return await self._releases.chosen(request.user_id or _request_id())

    @api.post("/v1/recommend", response_model=RecommendResponse, openapi_extra=takes(RecommendRequest))
    async def recommend(self, http: Request) -> Response:
        """The user's next items: retrieved, re-ranked, filtered; popular ones where nothing is known of the user."""
        return _json(await self._one(await read(RecommendRequest, http)))

    @api.post("/v1/recommend/batch", response_model=BatchResponse, openapi_extra=takes(BatchRequest))
    async def recommend_batch(self, http: Request) -> Response:
        """Several users in one call, each within its own deadline."""
        return _json(await self._several(await read(BatchRequest, http)))

    async def _one(self, request: RecommendRequest) -> dict[str, Any]:
        served, arm = await self._for(request)
        return await self._recommended(served, arm, request, *understood(served.door.query, request))

    async def _several(self, batch: BatchRequest) -> dict[str, Any]:
        chosen = [await self._for(request) for request in batch.requests]
        queries = [
            understood(served.door.query, request, "requests", number)
            for number, ((served, _), request) in enumerate(zip(chosen, batch.requests, strict=True))
        ]
        answers = (
            self._recommended(served, arm, request, *taken_in)
            for (served, arm), request, taken_in in zip(chosen, batch.requests, queries, strict=True)
        )
        return {"responses": await asyncio.gather(*answers)}

    async def _recommended(
        self, served: Served, arm: Arm | None, request: RecommendRequest, query: Query, unknown: Unknown
    ) -> dict[str, Any]:
        started, request_id = time.perf_counter(), _request_id()
        try:
            patience = self._patience(request.timeout_ms, served)
            answer = await recommend(query, served.stages, served.door.popular, patience)
        except Exception:
            if arm is not None:
                took_ms = 1000 * (time.perf_counter() - started)
                self._exposures.failed(arm, served.door.release_id, request.user_id, request_id, took_ms)
            raise
        self._record(answer, request.user_id)
        content = served.door.answer(answer, unknown, request_id, arm)
        if arm is not None:
            took_ms = 1000 * (time.perf_counter() - started)
            self._exposures.add(arm, answer, request.user_id, request_id, served.door.ids(answer.rows), took_ms)
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
        return _json(await self._similar(await read(SimilarRequest, http)))

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

    async def _similar(self, request: SimilarRequest, served: Served | None = None) -> dict[str, Any]:
        """By the release that the caller has looked at already, or by the live one."""
        served = served or await self._live()
        query, unknown = understood(served.door.similar, request)
        answer = await similar(query, served.stages, served.door.popular, self._patience(request.timeout_ms, served))
        self._record(answer, None)
        return served.door.answer(answer, unknown, _request_id())

    async def Recommend(self, message: pb.RecommendRequest, grpc_context: Context) -> pb.RecommendResponse:
        """gRPC's `recommend`."""
        return await answered(message, RecommendRequest, pb.RecommendResponse, grpc_context, self._one)

    async def RecommendBatch(self, message: pb.BatchRequest, grpc_context: Context) -> pb.BatchResponse:
        """gRPC's `recommend_batch`."""
        return await answered(message, BatchRequest, pb.BatchResponse, grpc_context, self._several)

    async def Similar(self, message: pb.SimilarRequest, grpc_context: Context) -> pb.SimilarResponse:
        """gRPC's `similar`."""
        return await answered(message, SimilarRequest, pb.SimilarResponse, grpc_context, self._similar)

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

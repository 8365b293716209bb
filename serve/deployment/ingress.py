"""The ingress: takes requests by HTTP and gRPC, and holds what answers them."""

import asyncio
import math
from collections.abc import Awaitable
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import Path, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from ray import serve
from ray.serve.handle import DeploymentHandle

from data.artifacts.folders import Folder
from data.cluster.failure_log import FailureLog
from data.cluster.ray_compatibility.serve import replica_name
from serve.access.control import AccessControl, install
from serve.access.exposure import check_deployed, require_hash_key
from serve.access.middleware import AccessMiddleware
from serve.access.scopes import require_scopes
from serve.api import recommender_pb2 as pb
from serve.api.body_limit import BodyLimit
from serve.api.events.schemas import EventsRequest
from serve.api.grpc_service import Context, for_callers, reply_to
from serve.api.limits import BODIES, MAX_BODY_S, MAX_K
from serve.api.openapi import body_schema, openapi_document, read_body
from serve.api.schemas import (
    BatchRequest,
    BatchResponse,
    Id,
    LiveResponse,
    Problem,
    RecommendRequest,
    RecommendResponse,
    SimilarRequest,
    SimilarResponse,
)
from serve.deployment.answering import RequestAnswerer
from serve.deployment.answers.background import BackgroundTasks
from serve.deployment.answers.popular_items import PopularItems
from serve.deployment.answers.records import AnswerRecords
from serve.deployment.event_routes import EventRoutes, router
from serve.deployment.refusals import add_refusals
from serve.deployment.release_runtime import ReleaseRuntime, open_runtime
from serve.deployment.replica import ReplicaSettings, prepare_process
from serve.deployment.settings import StalePointer
from serve.events.service import UserEvents
from serve.observability.metrics import Metrics
from serve.observability.request_times import MeasuredRequests
from serve.observability.tracing import send_spans
from serve.releases.release import Release

log_failure = FailureLog("ingress")

LAST_S = 10.0
"""Seconds that a replica that stops waits for the storage to take what is left. Serve kills it after 20."""

api = FastAPIOffline(  # /docs and /redoc take no script from the internet
    title="Two-tower recommendations",
    version="1",
    responses={
        401: {"model": Problem},
        403: {"model": Problem},
        408: {"model": Problem},
        413: {"model": Problem},
        415: {"model": Problem},
        422: {"model": Problem},
        429: {"model": Problem},
        503: {"model": Problem},
    },
)
api.openapi = partial(  # type: ignore[method-assign]
    openapi_document, api, RecommendRequest, BatchRequest, SimilarRequest, EventsRequest
)
api.add_middleware(AccessMiddleware)
api.add_middleware(BodyLimit, max_bytes=BODIES, max_s=MAX_BODY_S)
api.add_middleware(MeasuredRequests)  # the last one added is the outermost
api.include_router(router)
add_refusals(api)


# Ray Serve pickles the globals that exist when it sees the class: what the ingress uses is therefore defined above it.
def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


async def _within_last_s(what: str, closing: Awaitable[None]) -> None:
    """Waits for what a replica does as it stops, as long as there is time; one thing that hangs delays no other."""
    try:
        async with asyncio.timeout(LAST_S):
            await closing
    except Exception as e:  # the other things are to be done all the same
        log_failure(f"{what} not closed", e)


@serve.ingress(api)
class RecommenderIngress(EventRoutes):
    """The deployment that answers requests.

    It chooses one release for each request. In the fused topology it holds all stages of a release itself; in the
    staged topology it calls them through the handles of their deployments.

    Args:
        settings: What every replica is started with.
        stages: Staged topology: the handles of user encoder, retriever and re-ranker. Fused topology: none.
    """

    async def __init__(self, settings: ReplicaSettings, *stages: DeploymentHandle) -> None:  # type: ignore[misc]
        require_scopes(api.routes, pb.DESCRIPTOR.services_by_name["Recommender"].methods_by_name)
        await asyncio.to_thread(check_deployed, settings.auth, is_replica=True)
        require_hash_key(settings.auth)
        send_spans()
        prepare_process(settings.serve)
        self._config = settings.serve
        self._access = await AccessControl.start(settings.auth)
        install(self._access)
        self._handles = stages
        self._releases = settings.follow(
            self._open, replica_name(), set_denylist=ReleaseRuntime.set_denylist, close=ReleaseRuntime.close
        )
        await self._releases.start()
        self._metrics = Metrics()
        storage = Folder.of(settings.storage_root)
        self._records = AnswerRecords(storage, replica_name(), settings.events.decisions)
        self._events = UserEvents.of(settings.events) if settings.events.is_on else None
        popular = PopularItems(settings.events, storage)
        self._answers = RequestAnswerer(
            settings.serve, self._releases, self._metrics, self._records, popular, self._events
        )
        self._tasks = BackgroundTasks(self._releases, self._access, self._metrics, self._records, popular, self._events)

    async def __del__(self) -> None:
        """Writes the last records and events. Serve awaits this when a replica stops, after its last answer.

        One that waits for its first release has a heartbeat alone.
        """
        closing = [_within_last_s("heartbeat", self._releases.stop())] if hasattr(self, "_releases") else []
        if hasattr(self, "_tasks"):
            closing.append(_within_last_s("records", self._records.flush(at_once=True)))
            if self._events is not None:
                closing.append(_within_last_s("events", self._events.close()))
        await asyncio.gather(*closing)

    async def _open(self, settings: ReplicaSettings, release: Release) -> ReleaseRuntime:
        return await open_runtime(settings, release, *self._handles)

    @api.post("/v1/recommend", response_model=RecommendResponse, openapi_extra=body_schema(RecommendRequest))
    async def recommend(self, http: Request) -> Response:
        """Recommends items to a user, or popular items if nothing is known of the user."""
        return _json(await self._answers.recommend(await read_body(RecommendRequest, http)))

    @api.post("/v1/recommend/batch", response_model=BatchResponse, openapi_extra=body_schema(BatchRequest))
    async def recommend_batch(self, http: Request) -> Response:
        """Recommends items to several users in one call, to each within a deadline of its own."""
        return _json(await self._recommend_batch(await read_body(BatchRequest, http)))

    async def _recommend_batch(self, batch: BatchRequest) -> dict[str, Any]:
        await self._access.charge(len(batch.requests) - 1, counted=1)  # one with the call itself
        return await self._answers.recommend_batch(batch)

    @api.post("/v1/similar", response_model=SimilarResponse, openapi_extra=body_schema(SimilarRequest))
    async def similar(self, http: Request) -> Response:
        """Finds the items nearest to several items together, or to one item that features describe."""
        return _json(await self._answers.similar(await read_body(SimilarRequest, http)))

    @api.get(
        "/v1/items/{item_id:path}/similar", response_model=SimilarResponse, responses={404: {"model": Problem}}
    )  # fmt: skip
    async def similar_to_one(
        self, item_id: Annotated[Id, Path()], k: Annotated[int, Parameter(ge=1, le=MAX_K)] = 10
    ) -> Response:
        """Finds the items nearest to an item."""
        return _json(await self._answers.similar_to_one(item_id, k))

    @for_callers(pb.RecommendResponse)
    async def Recommend(self, message: pb.RecommendRequest, grpc_context: Context) -> pb.RecommendResponse:
        """Answers `recommend` over gRPC."""
        return await reply_to(message, RecommendRequest, pb.RecommendResponse, self._answers.recommend)

    @for_callers(pb.BatchResponse)
    async def RecommendBatch(self, message: pb.BatchRequest, grpc_context: Context) -> pb.BatchResponse:
        """Answers `recommend_batch` over gRPC."""
        return await reply_to(message, BatchRequest, pb.BatchResponse, self._recommend_batch)

    @for_callers(pb.SimilarResponse)
    async def Similar(self, message: pb.SimilarRequest, grpc_context: Context) -> pb.SimilarResponse:
        """Answers `similar` over gRPC."""
        return await reply_to(message, SimilarRequest, pb.SimilarResponse, self._answers.similar)

    @api.get("/v1/releases/live")
    async def live(self) -> LiveResponse:
        """Names the live release, with its offline metrics."""
        return (await self._answers.live()).adapter.live()

    @api.get("/healthz")
    async def health(self) -> dict[str, str]:
        """Reports that this process answers."""
        return {"status": "ok"}

    @api.get("/readyz")
    async def ready(self) -> Response:
        """Reports whether this replica answers, with which release, what is missing, and how old what it knows is.

        With 503 if it refuses because the live pointer is stale, or if a task in the background has ended.
        """
        ended, is_stale = self._tasks.ended, self._releases.is_stale
        refuses = is_stale and self._config.stale_pointer is StalePointer.refuse
        age_s = self._releases.pointer_age_s
        content = {
            "status": "not ready" if ended or refuses else "ready",
            "release_id": self._releases.current,
            "missing": ["live pointer stale"] * is_stale + ended + self._tasks.late,
            "pointer_age_s": None if math.isinf(age_s) else round(age_s, 1),
            "tasks": self._tasks.ages_s(),
        }
        return JSONResponse(content, status_code=503 if ended or refuses else 200)

    def check_health(self) -> None:
        """Called by Serve again and again; raises RuntimeError where a task has ended, and Serve starts a new replica.

        A stale pointer or a write that hangs is no reason: a new replica would not reach the storage either, and could
        not even start.
        """
        if ended := self._tasks.ended:
            raise RuntimeError(f"a task that runs in the background has ended: {', '.join(ended)}")

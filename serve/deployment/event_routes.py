"""Events and users over HTTP and gRPC, as part of the ingress."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response
from google.protobuf.json_format import ParseDict

from serve.access.control import may
from serve.access.scopes import Scope
from serve.api import recommender_pb2 as pb
from serve.api.adapter import FieldError
from serve.api.events.known import moment
from serve.api.events.reading import EventBatch, answer, read_events
from serve.api.events.schemas import (
    EventsRefused,
    EventsRequest,
    EventsResponse,
    ForgottenResponse,
    UserRequest,
    UserResponse,
)
from serve.api.grpc_service import Context, for_callers, json_values, reply_to
from serve.api.limits import MAX_EVENTS_BYTES
from serve.api.openapi import body_schema
from serve.api.problems import EVENTS_OFF
from serve.api.refusals import NotFound
from serve.api.schemas import Id, Problem
from serve.deployment.answering import RequestAnswerer
from serve.events.service import UserEvents

UserId = Annotated[Id, Path()]

KEEPS_NONE: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
"""What an endpoint without events answers."""

router = APIRouter()


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


class EventRoutes:
    """What a replica of the ingress answers about events and users; the ingress inherits it.

    Attributes:
        _events: The state store; None where `events.store` is off.
        _answers: Knows the live release.
    """

    _events: UserEvents | None
    _answers: RequestAnswerer

    @router.post(
        "/v1/events",
        status_code=202,
        response_model=EventsResponse,
        responses=KEEPS_NONE | {422: {"model": EventsRefused}},
        openapi_extra=body_schema(EventsRequest),
    )
    async def post_events(self, http: Request) -> Response:
        """Takes up to 500 events. They are durable before the answer, and part of the next recommendations.

        Each event is accepted or refused by itself: with 422, `detail` names the place of each that is refused, and
        all others are kept.
        """
        status, content = await self._take(await http.body())
        return _json(content, status)

    @router.get("/v1/users/{user_id:path}", response_model=UserResponse, responses=KEEPS_NONE)
    async def show_user(self, user_id: UserId) -> Response:
        """Shows what is known of a user: the latest events, counts, and the history that the live release has."""
        return _json(await self._user(UserRequest(user_id=user_id)))

    @router.delete("/v1/users/{user_id:path}", response_model=ForgottenResponse, responses=KEEPS_NONE)
    async def forget_user(self, user_id: UserId) -> Response:
        """Forgets a user: the state at once, the event log by its next compaction; earlier events are kept out."""
        return _json(await self._forget(UserRequest(user_id=user_id)))

    @for_callers(pb.EventsResponse)
    async def PostEvents(self, message: pb.EventsRequest, grpc_context: Context) -> pb.EventsResponse:
        """Takes events over gRPC. Where some are refused, INVALID_ARGUMENT names them; the others are kept."""
        if message.ByteSize() > MAX_EVENTS_BYTES:
            raise FieldError((), f"message: larger than {MAX_EVENTS_BYTES} bytes; send fewer events")
        status, content = await self._take(orjson.dumps(json_values(message)))
        if status == 422:
            places = "; ".join(f"{'.'.join(map(str, p['loc'][1:]))}: {p['msg']}" for p in content["detail"])
            kept = f"accepted {content['accepted']}, duplicates {content['duplicates']}"
            raise FieldError((), f"{kept}; refused {places}")
        return ParseDict(content, pb.EventsResponse())

    @for_callers(pb.UserResponse)
    async def GetUser(self, message: pb.UserRequest, grpc_context: Context) -> pb.UserResponse:
        """Answers `show_user` over gRPC."""
        return await reply_to(message, UserRequest, pb.UserResponse, self._user)

    @for_callers(pb.ForgottenResponse)
    async def ForgetUser(self, message: pb.UserRequest, grpc_context: Context) -> pb.ForgottenResponse:
        """Answers `forget_user` over gRPC."""
        return await reply_to(message, UserRequest, pb.ForgottenResponse, self._forget)

    async def _take(self, body: bytes) -> tuple[int, dict[str, Any]]:
        events = self._running_events()
        batch: EventBatch = read_events(body, events.config)
        return answer(batch, await events.accept(batch.events), may(Scope.read_users))

    async def _user(self, request: UserRequest) -> dict[str, Any]:
        return await self._answers.user(request.user_id, self._running_events())

    async def _forget(self, request: UserRequest) -> dict[str, Any]:
        forgotten_us = await self._running_events().forget(request.user_id)
        return {"user_id": request.user_id, "forgotten": moment(forgotten_us)}

    def _running_events(self) -> UserEvents:
        if self._events is None:
            raise NotFound(f"{EVENTS_OFF}; events=redis keeps them, and on one machine events=sqlite does")
        return self._events

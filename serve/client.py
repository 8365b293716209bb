"""A typed Python client of the endpoint, synchronous and asynchronous. It needs httpx and pydantic alone.

with RecommendClient("http://127.0.0.1:8000") as client:
    for item in client.recommend(user_id="u00042", k=10).items:
        print(item.title, item.score)

An endpoint that asks who one is takes an API key or a JSON Web Token: RecommendClient(address, key=...), or the
environment variable TWOTOWER_KEY.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import TypeAdapter
from pydantic_core import to_json

from serve.api.connection import M, answer, connection, path_segment, unreachable
from serve.api.events.schemas import EventsRequest, EventsResponse, ForgottenResponse, UserRequest, UserResponse
from serve.api.events.sender import AsyncEventSender, EventSender
from serve.api.events.unsent import EventsNotSent, SenderFull
from serve.api.problems import EndpointError, EventsOffError, EventsRefusedError
from serve.api.schemas import (
    BatchRequest,
    BatchResponse,
    LiveResponse,
    RecommendRequest,
    RecommendResponse,
    RequestId,
    SimilarRequest,
    SimilarResponse,
)

__all__ = [
    "AsyncEventSender",
    "AsyncRecommendClient",
    "EndpointError",
    "EventSender",
    "EventsNotSent",
    "EventsOffError",
    "EventsRefusedError",
    "RecommendClient",
    "SenderFull",
]

Filter = dict[str, Any]
JSON = {"Content-Type": "application/json"}

REQUEST_ID: TypeAdapter[str] = TypeAdapter(RequestId)


class RecommendClient:
    """A synchronous client with one connection pool; threads may share it.

    Each method raises EndpointError if the endpoint does not answer with status 200 and what is documented, and
    pydantic.ValidationError, before anything is sent, if the request breaks a limit.

    Args:
        address: The endpoint's URL, such as http://localhost:8000. Without http or https it is a ValueError.
        timeout_s: Seconds that connecting, sending and each wait for data may take.
        key: An API key or a JSON Web Token, for an endpoint that asks for one. No message shows it. None takes that of
            TWOTOWER_KEY in the environment, if it is set.
        ca_file: With https: a PEM file of the certificate authority, if the system does not know it.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        timeout_s: float = 5.0,
        *,
        key: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._http = httpx.Client(**connection(address, timeout_s, key, ca_file))

    def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse:
        """Recommends items.

        Args:
            user_id: The user; None for a request without a user.
            request_id: An id of the caller's own for the request, which the answer repeats: 1 to 256 printable ASCII
                characters without spaces.
            fields: Further fields of `serve.api.schemas.RecommendRequest`.

        Raises:
            EndpointError: The endpoint did not answer, or with another status than 200, or with something else than
                recommendations.
            pydantic.ValidationError: The request breaks a limit; nothing was sent.
        """
        body, headers = _request(user_id, request_id, fields)
        return self._send(RecommendResponse, "POST", "/v1/recommend", content=body, headers=headers)

    def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[RecommendResponse]:
        """Recommends items to several users in one call.

        Each of `requests` has the fields of `serve.api.schemas.RecommendRequest`; the answers are in the same order.
        """
        batch = self._send(BatchResponse, "POST", "/v1/recommend/batch", content=_batch_body(requests), headers=JSON)
        return batch.responses

    def similar(self, item_id: str, k: int = 10) -> SimilarResponse:
        """Returns the items nearest to an item."""
        return self._send(SimilarResponse, "GET", _similar_path(item_id, k))

    def similar_to(self, **fields: Any) -> SimilarResponse:
        """Returns the items nearest to several items, or to one that features describe.

        `fields` are those of `serve.api.schemas.SimilarRequest`.
        """
        body = SimilarRequest.model_validate(fields).model_dump_json(exclude_unset=True)
        return self._send(SimilarResponse, "POST", "/v1/similar", content=body, headers=JSON)

    def live(self) -> LiveResponse:
        """Returns the live release."""
        return self._send(LiveResponse, "GET", "/v1/releases/live")

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse:
        """Sends what users did; when it returns, all of it is durable, and part of the next answers.

        Each event has the fields of `serve.api.events.schemas.EventRequest`.

        Raises:
            EventsRefusedError: Some are refused; the error names them. All others are kept.
            EventsOffError: The endpoint keeps no events.
            EndpointError: With status 503 and `retry_after_s`: send them again. An event counts once, by its id.
            pydantic.ValidationError: An event breaks a limit; nothing was sent.
        """
        return self._send(EventsResponse, "POST", "/v1/events", content=_events_body(events), headers=JSON)

    def user(self, user_id: str) -> UserResponse:
        """Returns what is known of a user."""
        return self._send(UserResponse, "GET", _user_path(user_id))

    def forget(self, user_id: str) -> ForgottenResponse:
        """Forgets a user: the state at once, and the event log by its next compaction."""
        return self._send(ForgottenResponse, "DELETE", _user_path(user_id))

    def _send(self, model: type[M], method: str, path: str, **options: Any) -> M:
        try:
            return answer(self._http.request(method, path, **options), model)
        except httpx.TransportError as e:
            raise unreachable(self._http.base_url, e) from e

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> "RecommendClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRecommendClient:
    """An asynchronous client with the methods of `RecommendClient`; use it on one event loop."""

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        timeout_s: float = 5.0,
        *,
        key: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**connection(address, timeout_s, key, ca_file))

    async def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse:
        """See `RecommendClient.recommend`."""
        body, headers = _request(user_id, request_id, fields)
        return await self._send(RecommendResponse, "POST", "/v1/recommend", content=body, headers=headers)

    async def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[RecommendResponse]:
        """See `RecommendClient.recommend_batch`."""
        content = _batch_body(requests)
        batch = await self._send(BatchResponse, "POST", "/v1/recommend/batch", content=content, headers=JSON)
        return batch.responses

    async def similar(self, item_id: str, k: int = 10) -> SimilarResponse:
        """See `RecommendClient.similar`."""
        return await self._send(SimilarResponse, "GET", _similar_path(item_id, k))

    async def similar_to(self, **fields: Any) -> SimilarResponse:
        """See `RecommendClient.similar_to`."""
        body = SimilarRequest.model_validate(fields).model_dump_json(exclude_unset=True)
        return await self._send(SimilarResponse, "POST", "/v1/similar", content=body, headers=JSON)

    async def live(self) -> LiveResponse:
        """See `RecommendClient.live`."""
        return await self._send(LiveResponse, "GET", "/v1/releases/live")

    async def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse:
        """See `RecommendClient.send_events`."""
        return await self._send(EventsResponse, "POST", "/v1/events", content=_events_body(events), headers=JSON)

    async def user(self, user_id: str) -> UserResponse:
        """See `RecommendClient.user`."""
        return await self._send(UserResponse, "GET", _user_path(user_id))

    async def forget(self, user_id: str) -> ForgottenResponse:
        """See `RecommendClient.forget`."""
        return await self._send(ForgottenResponse, "DELETE", _user_path(user_id))

    async def _send(self, model: type[M], method: str, path: str, **options: Any) -> M:
        try:
            return answer(await self._http.request(method, path, **options), model)
        except httpx.TransportError as e:
            raise unreachable(self._http.base_url, e) from e

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncRecommendClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _request(user_id: str | None, request_id: str | None, fields: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    body = RecommendRequest(user_id=user_id, **fields).model_dump_json(exclude_unset=True).encode()
    headers = JSON | ({"X-Request-Id": REQUEST_ID.validate_python(request_id)} if request_id else {})
    return body, headers


def _similar_path(item_id: str, k: int) -> str:
    asked = SimilarRequest.model_validate({"item_ids": [item_id], "k": k})
    return f"/v1/items/{path_segment(asked.item_ids[0])}/similar?k={asked.k}"


def _user_path(user_id: str) -> str:
    return f"/v1/users/{path_segment(UserRequest(user_id=user_id).user_id)}"


def _batch_body(requests: Sequence[Mapping[str, Any]]) -> str:
    batch = BatchRequest.model_validate({"requests": [dict(request) for request in requests]})
    return batch.model_dump_json(exclude_unset=True)


def _events_body(events: Sequence[Mapping[str, Any]]) -> bytes:
    return (
        EventsRequest.model_validate_json(to_json({"events": list(events)}))
        .model_dump_json(exclude_unset=True)
        .encode()
    )

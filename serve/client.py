"""A typed Python client of the endpoint, synchronous and asynchronous. It needs httpx and pydantic alone.

with RecommendClient("http://127.0.0.1:8000") as client:
    for item in client.recommend(user_id="u00042", k=10).items:
        print(item.title, item.score)

An endpoint that asks who one is takes an API key or a JSON Web Token: RecommendClient(address, key=...).
"""

import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from serve.api.schemas import (
    BatchRequest,
    BatchResponse,
    LiveResponse,
    RecommendRequest,
    RecommendResponse,
    SimilarRequest,
    SimilarResponse,
)

Filter = dict[str, Any]
JSON = {"Content-Type": "application/json"}


class EndpointError(ConnectionError):
    """The endpoint refused a request, failed, or cannot be reached.

    Attributes:
        status: The HTTP status; None if the endpoint did not answer.
        retry_after_s: Seconds to wait before the next attempt, as the endpoint asks with 429 and 503; None if it does
            not.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class RecommendClient:
    """A synchronous client with one connection pool; threads may share it.

    Each method raises EndpointError if the endpoint does not answer with status 200, and pydantic.ValidationError,
    before anything is sent, if the request breaks a limit.

    Args:
        address: The endpoint's URL.
        timeout_s: Seconds that connecting, sending and each wait for data may take.
        key: An API key or a JSON Web Token, for an endpoint that asks for one. No message shows it.
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
        self._http = httpx.Client(base_url=address, timeout=timeout_s, headers=_shown(key), verify=_trusted(ca_file))

    def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse:
        """Recommends items.

        Args:
            user_id: The user; None for a request without a user.
            request_id: An id of the caller's own for the request, which the answer repeats.
            fields: Further fields of `serve.api.schemas.RecommendRequest`.

        Raises:
            EndpointError: The endpoint did not answer, or answered with another status than 200.
            pydantic.ValidationError: The request breaks a limit; nothing was sent.
        """
        body, headers = _request(user_id, request_id, fields)
        return RecommendResponse.model_validate_json(self._send("POST", "/v1/recommend", content=body, headers=headers))

    def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[RecommendResponse]:
        """Recommends items to several users in one call.

        Each of `requests` has the fields of `serve.api.schemas.RecommendRequest`; the answers are in the same order.
        """
        body = BatchRequest.model_validate({"requests": requests}).model_dump_json(exclude_unset=True)
        sent = self._send("POST", "/v1/recommend/batch", content=body, headers=JSON)
        return BatchResponse.model_validate_json(sent).responses

    def similar(self, item_id: str, k: int = 10) -> SimilarResponse:
        """Returns the items nearest to an item."""
        return SimilarResponse.model_validate_json(self._send("GET", _similar_path(item_id), params={"k": k}))

    def similar_to(self, **fields: Any) -> SimilarResponse:
        """Returns the items nearest to several items, or to one that features describe.

        `fields` are those of `serve.api.schemas.SimilarRequest`.
        """
        body = SimilarRequest.model_validate(fields).model_dump_json(exclude_unset=True)
        return SimilarResponse.model_validate_json(self._send("POST", "/v1/similar", content=body, headers=JSON))

    def live(self) -> LiveResponse:
        """Returns the live release."""
        return LiveResponse.model_validate_json(self._send("GET", "/v1/releases/live"))

    def _send(self, method: str, path: str, **options: Any) -> bytes:
        try:
            return _content(self._http.request(method, path, **options))
        except httpx.TransportError as e:
            raise _unreachable(self._http.base_url, e) from e

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
        self._http = httpx.AsyncClient(
            base_url=address, timeout=timeout_s, headers=_shown(key), verify=_trusted(ca_file)
        )

    async def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse:
        """See `RecommendClient.recommend`."""
        body, headers = _request(user_id, request_id, fields)
        sent = await self._send("POST", "/v1/recommend", content=body, headers=headers)
        return RecommendResponse.model_validate_json(sent)

    async def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[RecommendResponse]:
        """See `RecommendClient.recommend_batch`."""
        body = BatchRequest.model_validate({"requests": requests}).model_dump_json(exclude_unset=True)
        sent = await self._send("POST", "/v1/recommend/batch", content=body, headers=JSON)
        return BatchResponse.model_validate_json(sent).responses

    async def similar(self, item_id: str, k: int = 10) -> SimilarResponse:
        """See `RecommendClient.similar`."""
        return SimilarResponse.model_validate_json(await self._send("GET", _similar_path(item_id), params={"k": k}))

    async def similar_to(self, **fields: Any) -> SimilarResponse:
        """See `RecommendClient.similar_to`."""
        body = SimilarRequest.model_validate(fields).model_dump_json(exclude_unset=True)
        return SimilarResponse.model_validate_json(await self._send("POST", "/v1/similar", content=body, headers=JSON))

    async def live(self) -> LiveResponse:
        """See `RecommendClient.live`."""
        return LiveResponse.model_validate_json(await self._send("GET", "/v1/releases/live"))

    async def _send(self, method: str, path: str, **options: Any) -> bytes:
        try:
            return _content(await self._http.request(method, path, **options))
        except httpx.TransportError as e:
            raise _unreachable(self._http.base_url, e) from e

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncRecommendClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _shown(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _trusted(ca_file: str | None) -> ssl.SSLContext | bool:
    return True if ca_file is None else ssl.create_default_context(cafile=ca_file)


def _request(user_id: str | None, request_id: str | None, fields: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    body = RecommendRequest(user_id=user_id, **fields).model_dump_json(exclude_unset=True).encode()
    headers = JSON | ({"X-Request-Id": request_id} if request_id else {})
    return body, headers


def _similar_path(item_id: str) -> str:
    return f"/v1/items/{quote(item_id, safe='')}/similar"


def _content(response: httpx.Response) -> bytes:
    if response.status_code == httpx.codes.OK:
        return response.content
    retry_after = response.headers.get("Retry-After")
    raise EndpointError(
        f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:500]}",
        response.status_code,
        float(retry_after) if retry_after else None,
    )


def _unreachable(address: httpx.URL, error: httpx.TransportError) -> EndpointError:
    return EndpointError(f"{address}: no answer ({type(error).__name__}); is `python -m serve.run` up?")

"""A typed Python client of the endpoint, synchronous and asynchronous.

with RecommendClient("http://127.0.0.1:8000") as client:
    for item in client.recommend(user_id="u00042", k=10).items:
        print(item.title, item.score)
"""

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
    """The endpoint refused, failed or cannot be reached; `status` is None where it did not answer.

    Attributes:
        status: HTTP status.
        retry_after_s: how long the endpoint asks to wait, where it does (503).
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class RecommendClient:
    """One connection pool; safe to share between threads."""

    def __init__(self, address: str = "http://127.0.0.1:8000", timeout_s: float = 5.0) -> None:
        self._http = httpx.Client(base_url=address, timeout=timeout_s)

    def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse:
        """Recommends; `fields` are those of `serve.api.schemas.RecommendRequest`.

        Raises:
            EndpointError: any answer but 200, or none.
            pydantic.ValidationError: the request breaks a limit; nothing was sent.
        """
        body, headers = _request(user_id, request_id, fields)
        return RecommendResponse.model_validate_json(self._send("POST", "/v1/recommend", content=body, headers=headers))

    def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[RecommendResponse]:
        """Several users in one call; each of `requests` has the fields of `serve.api.schemas.RecommendRequest`."""
        body = BatchRequest.model_validate({"requests": requests}).model_dump_json(exclude_unset=True)
        sent = self._send("POST", "/v1/recommend/batch", content=body, headers=JSON)
        return BatchResponse.model_validate_json(sent).responses

    def similar(self, item_id: str, k: int = 10) -> SimilarResponse:
        """The nearest items of an item."""
        return SimilarResponse.model_validate_json(self._send("GET", _similar_path(item_id), params={"k": k}))

    def similar_to(self, **fields: Any) -> SimilarResponse:
        """The nearest of several items, or of one that features describe; `fields` are those of `SimilarRequest`."""
        body = SimilarRequest.model_validate(fields).model_dump_json(exclude_unset=True)
        return SimilarResponse.model_validate_json(self._send("POST", "/v1/similar", content=body, headers=JSON))

    def live(self) -> LiveResponse:
        """The release that answers now."""
        return LiveResponse.model_validate_json(self._send("GET", "/v1/releases/live"))

    def _send(self, method: str, path: str, **options: Any) -> bytes:
        try:
            return _content(self._http.request(method, path, **options))
        except httpx.TransportError as e:
            raise _unreachable(self._http.base_url, e) from e

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "RecommendClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRecommendClient:
    """The same for asyncio; one per event loop."""

    def __init__(self, address: str = "http://127.0.0.1:8000", timeout_s: float = 5.0) -> None:
        self._http = httpx.AsyncClient(base_url=address, timeout=timeout_s)

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
        """The nearest items of an item."""
        return SimilarResponse.model_validate_json(await self._send("GET", _similar_path(item_id), params={"k": k}))

    async def similar_to(self, **fields: Any) -> SimilarResponse:
        """See `RecommendClient.similar_to`."""
        body = SimilarRequest.model_validate(fields).model_dump_json(exclude_unset=True)
        return SimilarResponse.model_validate_json(await self._send("POST", "/v1/similar", content=body, headers=JSON))

    async def live(self) -> LiveResponse:
        """The release that answers now."""
        return LiveResponse.model_validate_json(await self._send("GET", "/v1/releases/live"))

    async def _send(self, method: str, path: str, **options: Any) -> bytes:
        try:
            return _content(await self._http.request(method, path, **options))
        except httpx.TransportError as e:
            raise _unreachable(self._http.base_url, e) from e

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncRecommendClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


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

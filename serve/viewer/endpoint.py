"""Requests of the page to the endpoint. Failures become text that the page shows; they never end it."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from serve.api.events.schemas import EventsResponse, UserResponse
from serve.api.problems import EndpointError
from serve.api.schemas import LiveResponse, RecommendResponse, SimilarResponse

T = TypeVar("T")


class Endpoint(Protocol):
    """The methods of `serve.client.AsyncRecommendClient` that the page uses."""

    async def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse: ...

    async def recommend_batch(self, requests: Sequence[Mapping[str, Any]]) -> list[RecommendResponse]: ...

    async def similar(self, item_id: str, k: int = 10) -> SimilarResponse: ...

    async def live(self) -> LiveResponse: ...

    async def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse: ...

    async def user(self, user_id: str) -> UserResponse: ...


@dataclass(frozen=True)
class Asked(Generic[T]):
    """An answer or an error message; exactly one of the two is given.

    Attributes:
        answer: The answer.
        problem: Why there is none, in words for people.
        status: The HTTP status of the refusal; None if there was no answer at all, or there is no problem.
    """

    answer: T | None = None
    problem: str = ""
    status: int | None = None


async def asked(question: Awaitable[T]) -> Asked[T]:
    """Waits for an answer of the endpoint; failures become an error message."""
    try:
        return Asked(await question)
    except EndpointError as e:
        return Asked(problem=str(e), status=e.status)
    except ValidationError as e:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in e.errors())
        return Asked(problem=wrong or str(e))

"""A request for recommendations with the release that answers it, and its answer as it is sent."""

from dataclasses import dataclass
from typing import Any

from serve.api.adapter import Unknown
from serve.api.schemas import RecommendRequest
from serve.deployment.release_runtime import ReleaseRuntime
from serve.experiments.assignment import Assignment
from serve.pipeline.messages import Query
from serve.pipeline.messages import Response as Answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for recommendations.

    Attributes:
        runtime: The release that answers it.
        assignment: Its variant; None where no experiment runs.
        request: The request itself.
        request_id: Its id.
        query: The request in rows of the release.
        unknown: What the release does not know of the request.
    """

    runtime: ReleaseRuntime
    assignment: Assignment | None
    request: RecommendRequest
    request_id: str
    query: Query
    unknown: Unknown


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer without recalled items.

    Attributes:
        asked: The request.
        answer: The answer in rows.
        content: It as JSON values.
        denied_rows: The items that are recalled by then.
        stale: Whether the storage had not said lately what is live.
        took_ms: Milliseconds that it took.
    """

    asked: Asked
    answer: Answer
    content: dict[str, Any]
    denied_rows: tuple[int, ...]
    stale: bool
    took_ms: float

    @classmethod
    def of(cls, asked: Asked, answer: Answer, stale: bool, took_ms: float) -> "Rendered":
        """Renders an answer."""
        adapter, filter = asked.runtime.adapter, asked.request.filter
        left = adapter.without_denied(answer)
        content = adapter.answer(left, asked.unknown, asked.request_id, asked.assignment, filter, stale)
        return cls(asked, left, content, adapter.denied_rows, stale, took_ms)

    def as_of_now(self) -> "Rendered":
        """Returns the answer without what was recalled since it was rendered; itself where nothing was."""
        if self.denied_rows is self.asked.runtime.adapter.denied_rows:
            return self
        return Rendered.of(self.asked, self.answer, self.stale, self.took_ms)

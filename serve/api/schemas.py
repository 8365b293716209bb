"""The endpoint's JSON: requests with their limits, responses, and the examples that OpenAPI shows.

Requests are read and answers written without FastAPI's own passes over them, which cost more than the search: `read`
and `takes` on the way in, ready JSON on the way out. The response models are documentation, and what clients parse.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.artifacts.errors import ConfigError
from serve.api.limits import MAX_BATCH, MAX_K
from serve.pipeline.source import Source

Id = Annotated[str, Field(min_length=1, max_length=256)]

Name = Annotated[str, Field(min_length=1, max_length=64)]

REQUEST_EXAMPLES: list[Any] = [
    {"user_id": "u00042", "k": 10},
    {"user_id": "u00042", "k": 5, "filter": {"field": "year", "op": ">=", "value": 2000}},
    {"history": ["i00007", "i00011"], "k": 5, "exclude": ["i00012"]},
    {"user_id": "u00042", "k": 10, "context": {"daypart": "evening"}},
]


class RecommendRequest(BaseModel):
    """Whom to recommend to, and within what limits."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": REQUEST_EXAMPLES})

    user_id: Id | None = Field(None, description="Known or not; without one, the history alone speaks.")
    k: int = Field(10, ge=1, le=MAX_K, description="How many items.")
    history: list[Id] = Field([], max_length=200, description="Item ids just interacted with, oldest first.")
    exclude: list[Id] = Field([], max_length=1000, description="Item ids that must not be answered.")
    context: dict[Name, Id] = Field(
        {}, max_length=16, description="What the request comes with, such as a channel; the re-ranker looks at it."
    )
    exclude_seen: bool = Field(True, description="Leave out what the user is known to have seen.")
    filter: dict[str, Any] | None = Field(
        None, description='A condition on item features, e.g. {"field": "genres", "op": "contains", "value": "Drama"}.'
    )
    timeout_ms: int | None = Field(None, ge=1, description="Deadline; the server's maximum applies.")
    explain: bool = Field(False, description="ProgressReporter of each item how it came into the answer.")


class BatchRequest(BaseModel):
    """Several users in one call."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"requests": [{"user_id": "u00042"}, {"user_id": "u00043"}]}]},
    )

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MAX_BATCH)


class SimilarRequest(BaseModel):
    """Items to find the like of: some of the catalogue, or the features of one that need not be in it."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"item_ids": ["i00007", "i00011"], "k": 5},
                {"features": {"genres": ["Drama"], "year": 1999}, "k": 5},
            ]
        },
    )

    item_ids: list[Id] = Field([], max_length=50, description="Items of the catalogue; they are not in the answer.")
    features: dict[str, Any] | None = Field(None, description="Features by name; those left out count as missing.")
    k: int = Field(10, ge=1, le=MAX_K, description="How many items.")
    exclude: list[Id] = Field([], max_length=1000, description="Item ids that must not be answered.")
    filter: dict[str, Any] | None = Field(None, description="A condition on item features, as for recommendations.")
    timeout_ms: int | None = Field(None, ge=1, description="Deadline; the server's maximum applies.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "SimilarRequest":
        if bool(self.item_ids) == (self.features is not None):
            raise ConfigError("give either item_ids or features")
        return self


class NearestItem(BaseModel):
    """An item of the history that is near to a recommended one."""

    id: str
    cosine: float


class ItemExplanation(BaseModel):
    """How an item came into the answer; nulls where a stage did not have it."""

    retrieval_rank: int | None = Field(description="from 1")
    retrieval_score: float | None
    rerank_score: float | None
    nearest_history: list[NearestItem]


class AnswerExplanation(BaseModel):
    """What held for the whole answer."""

    filter: dict[str, Any] | None = Field(description="as it was asked for")
    num_excluded: int = Field(description="items left out: excluded, or seen")
    num_candidates: int = Field(description="items that retrieval gave")


class Item(BaseModel):
    """One recommended item, best first in its list."""

    id: str
    title: str
    score: float = Field(description="re-ranking log-odds; see the README for what else it can be")
    features: dict[str, Any]
    explanation: ItemExplanation | None = None


class RecommendResponse(BaseModel):
    """The answer, and how it came about."""

    request_id: str
    release_id: str
    experiment: str | None = Field(None, description="the experiment that the answer is part of")
    variant: str | None = Field(None, description="control, or the release that the experiment tries")
    source: Source = Field(description="towers, or popular where nothing is known of the user or retrieval failed")
    degraded: bool = Field(description="something asked for was left out to answer in time")
    reasons: list[str]
    unknown_items: list[str] = Field(description="ids in history or exclude that the release does not know")
    unknown_context: list[str] = Field(description="names in context that the release does not know")
    items: list[Item]
    timings_ms: dict[str, float]
    explained: AnswerExplanation | None = None


class BatchResponse(BaseModel):
    """The answers, in the order of the requests."""

    responses: list[RecommendResponse]


class SimilarResponse(BaseModel):
    """The nearest items."""

    request_id: str
    release_id: str
    source: Source = Field(description="towers, or popular where retrieval failed")
    degraded: bool
    reasons: list[str]
    unknown_items: list[str]
    items: list[Item]
    timings_ms: dict[str, float]


class LiveResponse(BaseModel):
    """The release that answers now."""

    release_id: str
    created_at: str
    dataset: str
    checkpoint: str
    num_items: int
    metrics: dict[str, float]


class Problem(BaseModel):
    """Any error: what is wrong, and where."""

    detail: Any

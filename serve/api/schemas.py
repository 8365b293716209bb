"""The endpoint's JSON: requests with their limits, responses, and the examples that OpenAPI shows.

The endpoint validates requests by these models and writes responses as ready JSON (see serve/api/openapi.py); clients
validate requests and parse responses by them. This module needs pydantic alone, so that a client needs no more.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from serve.api.limits import MAX_BATCH, MAX_K
from serve.pipeline.source import Source

Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
"""An id of a user or an item, or a value of a context feature, without white space around it, as in the log."""

RequestId = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=256)]
"""An id of a request that a caller chooses: printable ASCII characters without spaces."""

Name = Annotated[str, Field(min_length=1, max_length=64)]

GoalWeight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]

REQUEST_EXAMPLES: list[Any] = [
    {"user_id": "u00042", "k": 10},
    {"user_id": "u00042", "k": 5, "filter": {"field": "year", "op": ">=", "value": 2000}},
    {"history": ["i00007", "i00011"], "k": 5, "exclude": ["i00012"]},
    {"user_id": "u00042", "k": 10, "context": {"daypart": "evening"}},
]


class RecommendRequest(BaseModel):
    """A request for recommendations."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": REQUEST_EXAMPLES})

    user_id: Id | None = Field(None, description="The user, who may be unknown; without one, the history alone counts.")
    k: int = Field(10, ge=1, le=MAX_K, description="Number of items to return.")
    history: list[Id] = Field([], max_length=200, description="Ids of items just interacted with, oldest first.")
    exclude: list[Id] = Field([], max_length=1000, description="Ids of items that must not be in the answer.")
    context: dict[Name, Id] = Field(
        {}, max_length=16, description="Properties of the request, such as its channel; the re-ranker uses them."
    )
    exclude_seen: bool = Field(True, description="Leave out items that the user is known to have seen.")
    filter: dict[str, Any] | None = Field(
        None, description='A condition on item features, e.g. {"field": "genres", "op": "contains", "value": "Drama"}.'
    )
    timeout_ms: int | None = Field(None, ge=1, description="Deadline in milliseconds; the server's maximum applies.")
    explain: bool = Field(False, description="Explain how each item came into the answer.")
    goals: dict[Name, GoalWeight] = Field(
        {},
        max_length=16,
        description="How much the probability of each event type counts in an item's value, by which items are ordered;"
        " those left out count 0. Without any, the weights of the release. Needs a release with goals.",
    )


class BatchRequest(BaseModel):
    """Requests for several users in one call."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"requests": [{"user_id": "u00042"}, {"user_id": "u00043"}]}]},
    )

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MAX_BATCH)


class SimilarRequest(BaseModel):
    """A request for items similar to items of the catalogue, or to one item that features describe."""

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
    k: int = Field(10, ge=1, le=MAX_K, description="Number of items to return.")
    exclude: list[Id] = Field([], max_length=1000, description="Ids of items that must not be in the answer.")
    filter: dict[str, Any] | None = Field(None, description="A condition on item features, as for recommendations.")
    timeout_ms: int | None = Field(None, ge=1, description="Deadline in milliseconds; the server's maximum applies.")

    @model_validator(mode="after")
    def _check_one_is_given(self) -> "SimilarRequest":
        if bool(self.item_ids) == (self.features is not None):
            raise ValueError("give either item_ids or features")
        return self


class NearestItem(BaseModel):
    """An item of the user's history that is near to a recommended one."""

    id: str
    cosine: float


class ItemExplanation(BaseModel):
    """How an item came into the answer; a value is null if its stage did not return the item."""

    retrieval_rank: int | None = Field(description="from 1")
    retrieval_score: float | None
    rerank_score: float | None
    nearest_history: list[NearestItem]


class AnswerExplanation(BaseModel):
    """How the answer as a whole came about."""

    filter: dict[str, Any] | None = Field(description="the filter of the request")
    num_excluded: int = Field(
        description="items left out because the request excludes them or they are seen, each once"
    )
    num_candidates: int = Field(description="items that retrieval found")


class Item(BaseModel):
    """One recommended item."""

    id: str
    title: str
    score: float = Field(
        description="re-ranking log-odds: 1 / (1 + exp(-score)) is the probability that a user who is active within a"
        " window as long as the validation part of the log takes the item within it; a longer window would give higher"
        " ones. Of a release with goals, the item's value: the sum of weight times probability over the event types."
        " docs/services.md says what else it can be"
    )
    features: dict[str, Any]
    explanation: ItemExplanation | None = None


class RecommendResponse(BaseModel):
    """The answer to a request for recommendations; the best item comes first."""

    request_id: str
    release_id: str
    experiment: str | None = Field(None, description="the experiment that the answer is part of")
    variant: str | None = Field(None, description="control, or the id of the release on trial")
    source: Source = Field(description="towers, or popular where nothing is known of the user or retrieval failed")
    degraded: bool = Field(description="something asked for was left out to answer in time")
    reasons: list[str]
    unknown_items: list[str] = Field(description="ids in history or exclude that the release does not know")
    unknown_context: list[str] = Field(description="names in context that the release does not know")
    stale: bool = Field(False, description="the storage has not said lately what is live: by what it said last")
    items: list[Item]
    timings_ms: dict[str, float]
    explained: AnswerExplanation | None = None


class BatchResponse(BaseModel):
    """The answers, in the order of the requests."""

    responses: list[RecommendResponse]


class SimilarResponse(BaseModel):
    """The answer to a request for similar items; the nearest comes first."""

    request_id: str
    release_id: str
    source: Source = Field(description="towers, or popular where retrieval failed")
    degraded: bool
    reasons: list[str]
    unknown_items: list[str]
    stale: bool = Field(False, description="the storage has not said lately what is live: by what it said last")
    items: list[Item]
    timings_ms: dict[str, float]


class LiveResponse(BaseModel):
    """The live release."""

    release_id: str
    created_at: str
    dataset: str
    checkpoint: str
    num_items: int
    metrics: dict[str, float]
    goals: dict[str, float] = Field(
        {}, description="event types and their weights, if scores are values of several goals"
    )


class Problem(BaseModel):
    """Any error: what is wrong, and with which field."""

    detail: Any

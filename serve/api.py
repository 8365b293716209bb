"""The endpoint's JSON: requests with their limits, responses, and the examples that OpenAPI shows."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serve.request import Source
from serve.settings import MAX_K

Id = Annotated[str, Field(min_length=1, max_length=256)]

REQUEST_EXAMPLES: list[Any] = [
    {"user_id": "u00042", "k": 10},
    {"user_id": "u00042", "k": 5, "filter": {"field": "year", "op": ">=", "value": 2000}},
    {"history": ["i00007", "i00011"], "k": 5, "exclude": ["i00012"]},
]


class RecommendRequest(BaseModel):
    """Whom to recommend to, and within what limits."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": REQUEST_EXAMPLES})

    user_id: Id | None = Field(None, description="Known or not; without one, the history alone speaks.")
    k: int = Field(10, ge=1, le=MAX_K, description="How many items.")
    history: list[Id] = Field([], max_length=200, description="Item ids just interacted with, oldest first.")
    exclude: list[Id] = Field([], max_length=1000, description="Item ids that must not be answered.")
    exclude_seen: bool = Field(True, description="Leave out what the user is known to have seen.")
    filter: dict[str, Any] | None = Field(
        None, description='A condition on item features, e.g. {"field": "genres", "op": "contains", "value": "Drama"}.'
    )
    timeout_ms: int | None = Field(None, ge=1, description="Deadline; the server's maximum applies.")


class Item(BaseModel):
    """One recommended item, best first in its list."""

    id: str
    title: str
    score: float = Field(description="re-ranking log-odds; see the README for what else it can be")
    features: dict[str, Any]


class RecommendResponse(BaseModel):
    """The answer, and how it came about."""

    request_id: str
    release_id: str
    source: Source = Field(description="towers, or popular where nothing is known of the user or retrieval failed")
    degraded: bool = Field(description="something asked for was left out to answer in time")
    reasons: list[str]
    unknown_items: list[str] = Field(description="ids in history or exclude that the release does not know")
    items: list[Item]
    timings_ms: dict[str, float]


class SimilarResponse(BaseModel):
    """The nearest items of an item."""

    release_id: str
    item: Item
    items: list[Item]


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

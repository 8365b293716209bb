"""The endpoint's JSON: requests with their limits, responses, and the examples that OpenAPI shows.

Requests are read and answers written without FastAPI's own passes over them, which cost more than the search: `read`
and `takes` on the way in, ready JSON on the way out. The response models are documentation, and what clients parse.
"""

from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from serve.request import Source
from serve.settings import MAX_K

M = TypeVar("M", bound=BaseModel)

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


async def read(model: type[M], request: Request) -> M:
    """The request's body as a model.

    Raises:
        RequestValidationError: it is none (422, with the place and the cure).
    """
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as e:
        errors = e.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**error, "loc": ("body", *error["loc"])} for error in errors]) from e


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """A route's `openapi_extra` for a body that `read` reads."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def described(api: FastAPI, *bodies: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI document, the bodies that `read` reads among its schemas."""
    document = get_openapi(title=api.title, version=api.version, routes=api.routes)
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= schemas["$defs"]
    return document

"""The endpoint's JSON: requests with their limits, responses, and the examples that OpenAPI shows.

Requests are read and answers written without FastAPI's own passes over them, which cost more than the search: `read`
and `takes` on the way in, ready JSON on the way out. The response models are documentation, and what clients parse.
"""

from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

M = TypeVar("M", bound=BaseModel)


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

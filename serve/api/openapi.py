"""Reading request bodies, and their place in the OpenAPI document.

The routes read their bodies by `read_body` and return JSON that is already serialised, because FastAPI's own passes
over requests and answers cost more than the search. `body_schema` and `openapi_document` tell OpenAPI what it would
otherwise learn from the routes' parameters.
"""

from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

M = TypeVar("M", bound=BaseModel)

KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key or a JSON Web Token, where the endpoint asks for one.",
}
"""How callers show who they are: the page of the API then has a field for a key."""


async def read_body(model: type[M], request: Request) -> M:
    """Returns the request's body as a model.

    Raises:
        RequestValidationError: The body is not valid; FastAPI answers 422 with the location and what is wrong.
    """
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as e:
        errors = e.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**error, "loc": ("body", *error["loc"])} for error in errors]) from e


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Returns the `openapi_extra` of a route whose body is read by `read_body`."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def openapi_document(api: FastAPI, *bodies: type[BaseModel]) -> dict[str, Any]:
    """Returns the OpenAPI document of the API, with the schemas of these bodies added.

    It is made once: anybody may ask for it, without a key, and making it keeps all other requests waiting.
    """
    if api.openapi_schema is not None:
        return api.openapi_schema
    document = get_openapi(title=api.title, version=api.version, routes=api.routes)
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= schemas["$defs"]
    document["components"]["securitySchemes"] = {"key": KEY_SCHEME}
    document["security"] = [{"key": []}, {}]  # with a key, or without one where nobody is asked
    api.openapi_schema = document
    return document

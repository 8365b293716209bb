"""Answers of the ingress over HTTP to requests that it refuses, by the error that says so."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.routing import Match

from serve.api.adapter import FieldError
from serve.api.refusals import STATUS, detail_of, status_of
from serve.deployment.settings import RETRY_AFTER_S


def add_refusals(api: FastAPI) -> None:
    """Adds the answers to an application."""
    for error in STATUS:
        api.add_exception_handler(error, _refuse)
    api.add_exception_handler(405, _name_methods)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """Answers with the status of the error.

    422 has the form in which FastAPI reports wrong fields. 503 may be sent again, as after any overload: another
    replica may reach the storage, and no event is lost that is sent again.
    """
    status = status_of(error)
    headers = {"Retry-After": f"{RETRY_AFTER_S:g}"} if status == 503 else None
    detail: object = detail_of(error)
    if isinstance(error, FieldError):
        detail = [{"type": "value_error", "loc": ["body", *error.location], "msg": detail}]
    return JSONResponse({"detail": detail}, status, headers)


async def _name_methods(request: Request, _: Exception) -> JSONResponse:
    """Answers 405 with all methods of the path; Starlette names those of the first of its routes alone."""
    routers = [getattr(route, "original_router", None) for route in request.app.routes]  # those that are included
    routes = [*request.app.routes, *(route for router in routers if router is not None for route in router.routes)]
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    methods = sorted({method for route in matching for method in getattr(route, "methods", None) or ()})
    return JSONResponse({"detail": "Method Not Allowed"}, status_code=405, headers={"Allow": ", ".join(methods)})

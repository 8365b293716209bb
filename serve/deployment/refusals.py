"""Answers of the ingress to requests that it refuses, by the error that says so."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.routing import Match

from serve.api.adapter import FieldError
from serve.api.grpc_service import Stale
from serve.deployment.settings import RETRY_AFTER_S
from serve.events.service import EventsUnavailable


def add_refusals(api: FastAPI) -> None:
    """Adds the answers to an application."""
    api.add_exception_handler(FieldError, _refuse)
    api.add_exception_handler(Stale, _refuse_for_now)
    api.add_exception_handler(EventsUnavailable, _refuse_for_now)
    api.add_exception_handler(405, _name_methods)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """Answers 422 in the form in which FastAPI reports wrong fields."""
    assert isinstance(error, FieldError)
    problem = {"type": "value_error", "loc": ["body", *error.location], "msg": str(error)}
    return JSONResponse({"detail": [problem]}, status_code=422)


async def _refuse_for_now(_: Request, error: Exception) -> JSONResponse:
    """Answers 503, as any overload: another replica may reach the storage, and no event is lost that is sent again."""
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": f"{RETRY_AFTER_S:g}"})


async def _name_methods(request: Request, _: Exception) -> JSONResponse:
    """Answers 405 with all methods of the path; Starlette names those of the first of its routes alone."""
    routers = [getattr(route, "original_router", None) for route in request.app.routes]  # those that are included
    routes = [*request.app.routes, *(route for router in routers if router is not None for route in router.routes)]
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    methods = sorted({method for route in matching for method in getattr(route, "methods", None) or ()})
    return JSONResponse({"detail": "Method Not Allowed"}, status_code=405, headers={"Allow": ", ".join(methods)})

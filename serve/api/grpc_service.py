"""Converts gRPC messages (serve/api/recommender.proto) to and from the requests and answers of serve/api/schemas.py."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

import grpc
import orjson
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from serve.access.control import Refused
from serve.access.middleware import admitted
from serve.api.adapter import FieldError
from serve.api.limits import MAX_BODY_BYTES

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=Message)

SERVICER = "serve.api.recommender_pb2_grpc.add_RecommenderServicer_to_server"
"""The function that Ray Serve calls to register the gRPC service, as a dotted path."""


class Stale(RuntimeError):
    """The endpoint is not to answer, because its last reading of the live pointer is too old."""


STATUS = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""How gRPC says what HTTP says by a status."""


class Context(Protocol):
    """The part of Ray Serve's gRPC context that is used here."""

    def invocation_metadata(self) -> Iterable[tuple[str, Any]]: ...

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...


async def reply_to(
    message: Message,
    model: type[M],
    reply: type[R],
    context: Context,
    method: str,
    answer: Callable[[M], Awaitable[dict[str, Any]]],
) -> R:
    """Answers a message.

    Args:
        message: The request.
        model: The pydantic model of the request.
        reply: The type of the answer's message.
        context: Has the caller's metadata, and takes the status code if the request is refused.
        method: The name of the gRPC method.
        answer: Returns the answer to a valid request as JSON values.

    Returns:
        The reply; empty, with the status INVALID_ARGUMENT and the wrong fields as details, if the request is refused,
        with UNAVAILABLE if the endpoint is not to answer, and with one of STATUS because of who asks.
    """
    try:
        given = (value for name, value in context.invocation_metadata() if name == "authorization")
        async with admitted("gRPC", method, given):
            return _to_message(await answer(_to_request(message, model)), reply)
    except Refused as e:
        context.set_code(STATUS[e.status])
        context.set_details(str(e))
    except (ValidationError, FieldError) as e:
        context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
        context.set_details(_details(e))
    except Stale as e:
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details(str(e))
    return reply()


def _to_request(message: Message, model: type[M]) -> M:
    if message.ByteSize() > MAX_BODY_BYTES:
        raise FieldError((), f"message: larger than {MAX_BODY_BYTES} bytes; send fewer ids")
    return model.model_validate(MessageToDict(message, preserving_proto_field_name=True))


def _to_message(content: dict[str, Any], reply: type[R]) -> R:
    return Parse(orjson.dumps(content), reply())


def _details(error: ValidationError | FieldError) -> str:
    if isinstance(error, FieldError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))

"""gRPC messages (serve/api/recommender.proto) as the requests and answers of serve/api/schemas.py: one meaning, two ways in."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import grpc
import orjson
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from serve.api.adapter import FieldError
from serve.api.limits import MAX_BODY_BYTES

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=Message)

SERVICER = "serve.api.recommender_pb2_grpc.add_RecommenderServicer_to_server"
"""What Ray Serve calls to learn of the service."""


class Context(Protocol):
    """What is used of Ray Serve's gRPC context."""

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...


async def answered(
    message: Message, model: type[M], reply: type[R], context: Context, answer: Callable[[M], Awaitable[dict[str, Any]]]
) -> R:
    """The reply to a message; INVALID_ARGUMENT, with field and cure, where the door cannot take it in."""
    try:
        return _message(await answer(_request(message, model)), reply)
    except (ValidationError, FieldError) as e:
        context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
        context.set_details(_said(e))
        return reply()


def _request(message: Message, model: type[M]) -> M:
    if message.ByteSize() > MAX_BODY_BYTES:
        raise FieldError((), f"message: larger than {MAX_BODY_BYTES} bytes; send fewer ids")
    return model.model_validate(MessageToDict(message, preserving_proto_field_name=True))


def _message(content: dict[str, Any], reply: type[R]) -> R:
    return Parse(orjson.dumps(content), reply())


def _said(error: ValidationError | FieldError) -> str:
    if isinstance(error, FieldError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))

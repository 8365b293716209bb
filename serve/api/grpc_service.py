"""Converts gRPC messages (serve/api/recommender.proto) to and from the requests and answers of serve/api/schemas.py."""

import re
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Any, Protocol, TypeVar

import grpc
import orjson
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from serve.access.control import Refused
from serve.access.middleware import admitted
from serve.api.adapter import FieldError
from serve.api.limits import MAX_BODY_BYTES, MAX_ID
from serve.events.service import EventsUnavailable
from serve.observability.request_times import request_times

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=Message)

Answers = Callable[[Any, Any, Any], Awaitable[R]]
"""A method that answers a message, given the context of the call."""


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


def for_callers(reply: type[R]) -> Callable[[Answers[R]], Answers[R]]:
    """Decorates the methods of a gRPC service: who asks is found out before anything of the message is looked at.

    Args:
        reply: The type of the answer's message. It is empty, with one of STATUS, where the caller is refused.
    """

    def decorate(answers: Answers[R]) -> Answers[R]:
        @wraps(answers)
        async def answer(self: Any, message: Any, grpc_context: Context) -> R:
            given = [value for name, value in grpc_context.invocation_metadata() if name == "authorization"]
            try:
                async with admitted("gRPC", answers.__name__, given):
                    return await answers(self, message, grpc_context)
            except Refused as e:
                grpc_context.set_code(STATUS[e.status])
                grpc_context.set_details(str(e))
                return reply()

        return answer

    return decorate


async def reply_to(
    message: Message, model: type[M], reply: type[R], context: Context, answer: Callable[[M], Awaitable[dict[str, Any]]]
) -> R:
    """Answers a message.

    Args:
        message: The request.
        model: The pydantic model of the request.
        reply: The type of the answer's message.
        context: Takes the status code if the request is refused.
        answer: Returns the answer to a valid request as JSON values.

    Returns:
        The reply; empty, with the status INVALID_ARGUMENT and the wrong fields as details, if the request is refused,
        and with UNAVAILABLE if the endpoint is not to answer.
    """
    with request_times().measured(f"grpc {model.__name__}"):
        try:
            return _to_message(await answer(_to_request(message, model)), reply)
        except (ValidationError, FieldError) as e:
            refuse_with(context, _details(e))
        except Stale as e:
            refuse_with(context, str(e), is_unavailable=True)
        return reply()


async def reply_to_id(
    user_id: str, reply: type[R], context: Context, answer: Callable[[str], Awaitable[dict[str, Any]]]
) -> R:
    """Answers a message that names a user and nothing else, as `reply_to` does."""
    if not 1 <= len(user_id.strip()) <= MAX_ID:
        refuse_with(context, f"user_id: must have 1 to {MAX_ID} characters")
        return reply()
    try:
        return _to_message(await answer(user_id), reply)
    except (Stale, EventsUnavailable) as e:
        refuse_with(context, str(e), is_unavailable=True)
    return reply()


def refuse_with(context: Context, details: str, is_unavailable: bool = False) -> None:
    """Refuses a message with INVALID_ARGUMENT, or with UNAVAILABLE where it may be sent again."""
    context.set_code(grpc.StatusCode.UNAVAILABLE if is_unavailable else grpc.StatusCode.INVALID_ARGUMENT)
    context.set_details(details)


def _to_request(message: Message, model: type[M]) -> M:
    if message.ByteSize() > MAX_BODY_BYTES:
        raise FieldError((), f"message: larger than {MAX_BODY_BYTES} bytes; send fewer ids")
    return model.model_validate(json_values(message))


def json_values(message: Message) -> dict[str, Any]:
    """The JSON values of a message, by the names of its fields in the .proto file.

    Raises:
        FieldError: A Struct in it holds NaN or an infinity, which JSON does not have.
    """
    try:
        values: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    except JsonError as e:
        place = tuple(re.findall(r"Failed to serialize (\w+) field", str(e)))
        raise FieldError(
            place, f"{'.'.join(place) or 'message'}: holds NaN or an infinity, which JSON does not have; send a number"
        ) from e
    return values


def _to_message(content: dict[str, Any], reply: type[R]) -> R:
    return Parse(orjson.dumps(content), reply())


def _details(error: ValidationError | FieldError) -> str:
    if isinstance(error, FieldError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))

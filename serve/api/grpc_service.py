"""Converts gRPC messages (serve/api/recommender.proto) to and from the requests and answers of serve/api/schemas.py."""

import re
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from itertools import accumulate
from typing import Any, Protocol, TypeVar

import grpc
import orjson
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from serve.access.middleware import admitted
from serve.api.adapter import FieldError
from serve.api.limits import MAX_BODY_BYTES
from serve.api.refusals import UNFORESEEN, detail_with_place, status_of
from serve.observability.request_times import request_times

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=Message)

Answers = Callable[[Any, Any, Any], Awaitable[R]]
"""A method that answers a message, given the context of the call."""

CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""How gRPC says what HTTP says by a status."""


MAX_DETAILS_BYTES = 6_000
"""Bytes that the details of a refusal take on the way. Clients refuse trailers of more than 8 KiB, or soon after that:
of an answer with longer details they would learn neither its status nor its details."""

NOT_PLAIN = re.compile(rb"[^ -$&-~]")
"""Bytes for which gRPC writes three."""


class Context(Protocol):
    """The part of Ray Serve's gRPC context that is used here."""

    def invocation_metadata(self) -> Iterable[tuple[str, Any]]: ...
    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...


def for_callers(reply: type[R]) -> Callable[[Answers[R]], Answers[R]]:
    """Decorates the methods of a gRPC service. Who asks is found out before anything of the message is looked at; each
    call is counted, and an error ends it with the status that HTTP has for it.

    Args:
        reply: The type of the answer's message. It is empty where the call is refused.
    """

    def decorate(answers: Answers[R]) -> Answers[R]:
        @wraps(answers)
        async def answer(self: Any, message: Any, grpc_context: Context) -> R:
            given = [value for name, value in grpc_context.invocation_metadata() if name == "authorization"]
            name = answers.__name__
            try:
                with request_times().measured(f"grpc {name}", status_of):
                    async with admitted("gRPC", name, given):
                        return await answers(self, message, grpc_context)
            except Exception as e:
                grpc_context.set_code(CODES[status_of(e)])
                grpc_context.set_details(within_trailers(detail_with_place(e)))
                if status_of(e) == UNFORESEEN:
                    raise  # Ray Serve logs it, and keeps the code and the details
                return reply()

        return answer

    return decorate


def within_trailers(details: str) -> str:
    """The details as far as every client takes them; where they are cut, their end says so."""
    content = details.encode(errors="replace")
    if len(content) + 2 * len(NOT_PLAIN.findall(content)) <= MAX_DETAILS_BYTES:
        return details
    taken = accumulate(1 + 2 * bool(NOT_PLAIN.match(content, place)) for place in range(MAX_DETAILS_BYTES))
    kept = content[: sum(length <= MAX_DETAILS_BYTES for length in taken)].decode(errors="ignore")
    return f"{kept}... (cut: gRPC takes no more)"


async def reply_to(
    message: Message, model: type[M], reply: type[R], answer: Callable[[M], Awaitable[dict[str, Any]]]
) -> R:
    """Answers a message.

    Args:
        message: The request.
        model: The pydantic model of the request.
        reply: The type of the answer's message.
        answer: Returns the answer to a valid request as JSON values.

    Raises:
        FieldError: The request is not valid; the error names the wrong fields.
    """
    return _to_message(await answer(to_request(message, model)), reply)


def to_request(message: Message, model: type[M]) -> M:
    """A message as a pydantic model.

    Raises:
        FieldError: It is not valid; the error names the wrong fields.
    """
    if message.ByteSize() > MAX_BODY_BYTES:
        raise FieldError((), f"message: larger than {MAX_BODY_BYTES} bytes; send fewer ids")
    try:
        return model.model_validate(json_values(message))
    except ValidationError as e:
        wrong = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in e.errors(include_url=False))
        raise FieldError((), "; ".join(wrong)) from e


def json_values(message: Message) -> dict[str, Any]:
    """The JSON values of a message, by the names of its fields in the .proto file.

    Raises:
        FieldError: A Struct in it holds NaN or an infinity, which JSON does not have.
    """
    try:
        values: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    except JsonError as e:
        place = _place_of(message, e)
        named = ".".join(map(str, place)) or "message"
        raise FieldError(place, f"{named}: holds NaN or an infinity, which JSON does not have; send a number") from e
    return values


def _place_of(message: Message, error: JsonError) -> tuple[str | int, ...]:
    """The place of the value that JSON does not have; within a batch with the number of its request.

    The error names the innermost field alone.
    """
    for number, part in enumerate(getattr(message, "requests", ())):
        try:
            MessageToDict(part, preserving_proto_field_name=True)
        except JsonError as e:
            return "requests", number, *_place_of(part, e)
    return tuple(re.findall(r"Failed to serialize (\w+) field", str(error)))


def _to_message(content: dict[str, Any], reply: type[R]) -> R:
    return Parse(orjson.dumps(content), reply())

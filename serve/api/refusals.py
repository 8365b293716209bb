"""What becomes of a request that is not answered, by the error that says why. HTTP and gRPC say the same of it."""

from serve.access.control import Refused
from serve.api.adapter import FieldError
from serve.events.service import EventsUnavailable


class Stale(RuntimeError):
    """The endpoint is not to answer, because its last reading of the live pointer is too old."""


class Late(RuntimeError):
    """What a request asks for was not known by its deadline, and nothing can stand in for it."""


class NotFound(LookupError):
    """What a request asks about does not exist."""


STATUS: dict[type[Exception], int] = {
    FieldError: 422,
    NotFound: 404,
    Stale: 503,
    Late: 503,
    EventsUnavailable: 503,
}
"""The HTTP status of each error that refuses a request, beside `Refused`, which has its own."""

UNFORESEEN = 500
"""The HTTP status of any other error."""


def status_of(error: BaseException) -> int:
    """The HTTP status of a request that ended in an error."""
    if isinstance(error, Refused):
        return error.status
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), UNFORESEEN)


def detail_of(error: BaseException) -> str:
    """What the caller is told. The text of an error that nobody foresaw is for the log alone."""
    return "Internal Server Error" if status_of(error) == UNFORESEEN else str(error)


def detail_with_place(error: BaseException) -> str:
    """What the caller is told where nothing but a text is, with the place of a wrong field: `requests.37.filter: ...`.

    The message of a field's error begins with the field itself, and not with what that is in.
    """
    detail = detail_of(error)
    if not isinstance(error, FieldError):
        return detail
    for start in range(len(error.location)):
        outer, inner = (".".join(map(str, part)) for part in (error.location[:start], error.location[start:]))
        if detail.startswith(inner):
            return f"{outer}.{detail}" if outer else detail
    return ": ".join(filter(None, (".".join(map(str, error.location)), detail)))

"""Requests for a second approval, each of which is a file that says what was done last with it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from data.artifacts.json_text import parsed
from data.artifacts.structured import known_fields
from serve.releases.audit.history import Stamp

VALID_FOR = timedelta(hours=24)
"""How long a request, and its approval, count."""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Something that waits for a second operator.

    Attributes:
        id: a digest of action and what; the same thing asked for again is the same request.
        action: one of `serve.releases.audit.approvals.ACTIONS`, or `policy`.
        what: JSON values that say exactly what is to be done.
        by, at: who asked for it, and when (ISO timestamp).
        approved_by: who approved it; None while it waits.
        used: who had approved the request in whose place this one is, because that was used.
        change: when and by whom it was approved or, where it waits, the one before it was used.
    """

    id: str
    action: str
    what: dict[str, Any]
    by: str
    at: str
    approved_by: str | None = None
    used: str | None = None
    change: Stamp | None = None

    @classmethod
    def of_json(cls, content: bytes, place: str) -> "ApprovalRequest":
        """Reads a request from the content of the file at `place`; raises DamagedFile where it is none."""
        return parsed(content, place, cls._of_value, "a request for an approval", "remove it, and ask again")

    @classmethod
    def _of_value(cls, value: dict[str, Any]) -> "ApprovalRequest":
        fields = known_fields(cls, value, {})
        request = cls(**fields | {"change": stamp_of(fields.get("change"))})
        if datetime.fromisoformat(request.at).tzinfo is None:
            raise ValueError(f"at is {request.at!r}, which has no time zone")
        return request

    @property
    def is_valid(self) -> bool:
        """Whether it still counts."""
        return datetime.now(UTC) - datetime.fromisoformat(self.at) < VALID_FOR

    @property
    def entry(self) -> dict[str, Any]:
        """What the history says of `change`."""
        if self.approved_by is not None:
            return {"action": "approve", "request": str(self)}
        return {"action": "approved", "request": str(self), "approved_by": self.used}

    def __str__(self) -> str:
        return f"{self.action} {', '.join(f'{name}={value}' for name, value in sorted(self.what.items()))}"


def stamp_of(value: Any) -> Stamp | None:
    """The stamp in a JSON value; None where an earlier version has not written one."""
    return None if value is None else Stamp(**known_fields(Stamp, value, {}))

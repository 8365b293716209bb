"""A question of a person to the endpoint: what the controls of a view hold, as a request and as an address."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serve.api.limits import MAX_K


@dataclass
class Question:
    """A request for recommendations that a person puts together.

    Attributes:
        user_id: The user; empty for a request without one.
        k: Items to return.
        conditions: Conditions on item features, all of which must hold.
        context: Properties of the request.
        history: Items that the request adds to the user's history, oldest first.
        exclude_seen: Whether to leave out what the user has seen.
        timeout_ms: The deadline; None means that of the endpoint.
    """

    user_id: str = ""
    k: int = 10
    conditions: list[dict[str, Any]] = field(default_factory=list)
    context: dict[str, str] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    exclude_seen: bool = True
    timeout_ms: int | None = None

    def body(self) -> dict[str, Any]:
        """Returns the request, without fields at the endpoint's default."""
        fields: dict[str, Any] = {"user_id": self.user_id or None, "k": self.k}
        if self.conditions:
            fields["filter"] = self.conditions[0] if len(self.conditions) == 1 else {"all": self.conditions}
        fields |= {"context": self.context, "history": self.history, "timeout_ms": self.timeout_ms}
        body = {name: value for name, value in fields.items() if value not in (None, {}, [])}
        return body if self.exclude_seen else body | {"exclude_seen": False}

    def parameters(self) -> dict[str, str]:
        """Returns the query parameters of the page's address, without those at their default."""
        written = {"user": self.user_id, "k": str(self.k), "history": " ".join(map(_escaped, self.history))}
        written["filter"] = json.dumps(self.conditions, ensure_ascii=False) if self.conditions else ""
        written["context"] = json.dumps(self.context, ensure_ascii=False) if self.context else ""
        written["seen"] = "" if self.exclude_seen else "keep"
        written["timeout_ms"] = str(self.timeout_ms or "")
        return {name: value for name, value in written.items() if value}

    @classmethod
    def of_parameters(cls, given: Mapping[str, str], k: int) -> "Question":
        """Returns the question that an address carries; what it carries of another form is left out.

        Args:
            k: items to return where the address does not say.
        """
        timeout_ms = _number(given, "timeout_ms")
        conditions, context = _json(given.get("filter", ""), list), _json(given.get("context", ""), dict)
        return cls(
            user_id=given.get("user", ""),
            k=number_of_items(given, k),
            conditions=[c for c in conditions if isinstance(c, dict)],
            context={str(name): value for name, value in context.items() if isinstance(value, str)},
            history=[_unescaped(id_) for id_ in given.get("history", "").split(" ") if id_],
            exclude_seen=given.get("seen") != "keep",
            timeout_ms=timeout_ms or None,
        )


def number_of_items(given: Mapping[str, str], otherwise: int) -> int:
    """Returns the `k` that an address carries, within its limits, or `otherwise` where it carries no number."""
    k = _number(given, "k")
    return otherwise if k is None else min(max(k, 1), MAX_K)


def _number(given: Mapping[str, str], name: str) -> int | None:
    written = given.get(name, "")
    return int(written) if written.isascii() and written.isdigit() else None


def _json(written: str, kind: type) -> Any:
    try:
        value = json.loads(written) if written else kind()
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def _escaped(id_: str) -> str:
    return id_.replace("%", "%25").replace(" ", "%20")


def _unescaped(id_: str) -> str:
    return id_.replace("%20", " ").replace("%25", "%")

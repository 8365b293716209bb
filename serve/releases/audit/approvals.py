"""Second approvals: where a storage asks for them, a promotion or a recall waits until another operator approves it.

The policy is a file beside the releases, so it holds for every operator. Whoever may write to the storage can get
around it: it guards against mistakes, and leaves a record.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from data.artifacts.errors import ConfigError, UserError
from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.artifacts.operators import operator
from serve.releases.audit.history import record

APPROVALS = ".approvals"
"""Folder of the policy and of the requests below that of the releases."""

POLICY = "policy.json"

ACTIONS = ("promote", "withdraw")
"""What may need a second approval: giving a release traffic, and changing the denylist."""

VALID_FOR = timedelta(hours=24)
"""How long a request, and its approval, count."""


class NeedsApproval(UserError):
    """Another operator must approve this first; nothing has changed."""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Something that waits for a second operator.

    Attributes:
        id: a digest of action and what; the same thing asked for again is the same request.
        action: one of ACTIONS, or `policy`.
        what: JSON values that say exactly what is to be done.
        by, at: who asked for it, and when (ISO timestamp).
        approved_by: who approved it; None while it waits.
    """

    id: str
    action: str
    what: dict[str, Any]
    by: str
    at: str
    approved_by: str | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it still counts."""
        return datetime.now(UTC) - datetime.fromisoformat(self.at) < VALID_FOR

    def __str__(self) -> str:
        return f"{self.action} {', '.join(f'{name}={value}' for name, value in sorted(self.what.items()))}"


@dataclass(frozen=True, slots=True)
class Approvals:
    """The policy and the requests of one registry."""

    releases: Folder

    @property
    def folder(self) -> Folder:
        """Where they are kept."""
        return self.releases / APPROVALS

    def required(self) -> list[str]:
        """The actions that need a second approval."""
        found: list[str] = self.folder.read_json(POLICY)["require"] if self.folder.exists(POLICY) else []
        return found

    def require(self, actions: list[str]) -> None:
        """Sets which actions need a second approval. To ask for fewer than before itself needs one.

        Raises:
            ConfigError: there is no such action.
            NeedsApproval: another operator must approve it first.
        """
        for action in actions:
            if action not in ACTIONS:
                raise ConfigError(f"require: {action!r} must be one of {', '.join(ACTIONS)}")
        if set(self.required()) - set(actions):
            self._use("policy", {"require": sorted(actions)})
        self.folder.write_json(POLICY, {"require": sorted(actions)})
        record(self.releases, action="policy", require=sorted(actions))

    def check(self, action: str, **what: Any) -> None:
        """Uses up the approval of an action, where the policy asks for one.

        Raises:
            NeedsApproval: nobody else has approved exactly this; a request for it then waits.
        """
        if action in self.required():
            self._use(action, what)

    def _use(self, action: str, what: dict[str, Any]) -> None:
        id_ = hashlib.sha256(json_text([action, what], sort_keys=True).encode()).hexdigest()[:10]
        with self.folder.locked("approvals"):
            request = self._read(id_)
            if request is not None and request.approved_by is not None:
                self.folder.delete_file(f"{id_}.json")
                record(self.releases, action="approved", request=str(request), approved_by=request.approved_by)
                return
            if request is None:
                request = ApprovalRequest(id_, action, what, operator(), datetime.now(UTC).isoformat())
                self.folder.write_json(f"{id_}.json", asdict(request))
        raise NeedsApproval(
            f"{request}: waits for a second operator, who runs python -m serve.approve request={id_} within"
            f" {VALID_FOR.total_seconds() / 3600:g} hours (asked for by {request.by}); then run this command again"
        )

    def _read(self, id_: str) -> ApprovalRequest | None:
        if not self.folder.exists(f"{id_}.json"):
            return None
        request = ApprovalRequest(**self.folder.read_json(f"{id_}.json"))
        return request if request.is_valid else None

    def waiting(self) -> list[ApprovalRequest]:
        """The requests that count, oldest first."""
        ids = (name.removesuffix(".json") for name in self.folder.names() if name.endswith(".json") and name != POLICY)
        found = (self._read(id_) for id_ in ids)
        return sorted((request for request in found if request is not None), key=lambda request: request.at)

    def approve(self, id_: str) -> ApprovalRequest:
        """Approves a request.

        Raises:
            ConfigError: there is no such request, or this operator has asked for it.
        """
        with self.folder.locked("approvals"):
            request = next((one for one in self.waiting() if one.id == id_), None)
            if request is None:
                known = ", ".join(one.id for one in self.waiting()) or "none"
                raise ConfigError(f"request: {id_!r} does not wait for an approval (there are: {known})")
            if request.by == operator():
                raise ConfigError(f"request: {id_} was asked for by {request.by}; another operator must approve it")
            approved = replace(request, approved_by=operator())
            self.folder.write_json(f"{id_}.json", asdict(approved))
            record(self.releases, action="approve", request=str(request))
        return approved

"""Second approvals: where a storage asks for them, a promotion or a recall waits until another operator approves it.

The policy is a file beside the releases, so it holds for every operator. Whoever may write to the storage can get
around it: it guards against mistakes, and leaves a record.
"""

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from data.artifacts.errors import ConfigError, UserError
from data.artifacts.folders import Folder, json_bytes
from data.artifacts.json_text import json_text
from data.artifacts.leases import Lock
from data.artifacts.operators import operator
from data.artifacts.records.updates import update_file
from data.artifacts.structured import known_fields
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

    @classmethod
    def of_json(cls, content: bytes) -> "ApprovalRequest":
        """Reads a request from the content of its file."""
        return cls(**known_fields(cls, json.loads(content), {}))

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
        return _required(self.folder.read_bytes(POLICY) if self.folder.exists(POLICY) else None)

    def require(self, actions: list[str]) -> None:
        """Sets which actions need a second approval. To ask for fewer than before itself needs one.

        Raises:
            ConfigError: there is no such action.
            NeedsApproval: another operator must approve it first.
        """
        for action in actions:
            if action not in ACTIONS:
                raise ConfigError(f"require: {action!r} must be one of {', '.join(ACTIONS)}")
        content, is_approved = json_bytes({"require": sorted(actions)}), False

        def changed(before: bytes | None) -> bytes:
            nonlocal is_approved
            if set(_required(before)) - set(actions) and not is_approved:
                self._use("policy", {"require": sorted(actions)}, lock)
                is_approved = True
            return content

        with self._locked() as lock:
            update_file(self.folder, POLICY, changed, lock)
        record(self.releases, action="policy", require=sorted(actions))

    def check(self, action: str, **what: Any) -> None:
        """Uses up the approval of an action, where the policy asks for one.

        Raises:
            NeedsApproval: nobody else has approved exactly this; a request for it then waits.
        """
        if action in self.required():
            with self._locked() as lock:
                self._use(action, what, lock)

    def _locked(self) -> AbstractContextManager[Lock]:
        return self.folder.locked("approvals")

    def _use(self, action: str, what: dict[str, Any], lock: Lock) -> None:
        """Uses up the approval of a request, once among all processes; raises NeedsApproval where there is none."""
        id_ = hashlib.sha256(json_text([action, what], sort_keys=True).encode()).hexdigest()[:10]

        def asked_for(content: bytes | None) -> bytes:
            found = _valid(content)
            if content is not None and found is not None and found.approved_by is None:
                return content
            return json_bytes(asdict(ApprovalRequest(id_, action, what, operator(), datetime.now(UTC).isoformat())))

        # The approved request is replaced, not deleted: of two processes that read it, one alone can do so.
        before, after = update_file(self.folder, f"{id_}.json", asked_for, lock)
        used, request = _valid(before), ApprovalRequest.of_json(after)
        if used is not None and used.approved_by is not None:
            lock.require()
            self.folder.delete_file(f"{id_}.json")
            record(self.releases, action="approved", request=str(used), approved_by=used.approved_by)
            return
        raise NeedsApproval(
            f"{request}: waits for a second operator, who runs python -m serve.approve request={id_} within"
            f" {VALID_FOR.total_seconds() / 3600:g} hours (asked for by {request.by}); then run this command again"
        )

    def waiting(self) -> list[ApprovalRequest]:
        """The requests that count, oldest first."""
        ids = (name.removesuffix(".json") for name in self.folder.names() if name.endswith(".json") and name != POLICY)
        files = (self.folder.read_versioned(f"{id_}.json") for id_ in ids)
        found = (_valid(file[0]) for file in files if file is not None)
        return sorted((request for request in found if request is not None), key=lambda request: request.at)

    def approve(self, id_: str) -> ApprovalRequest:
        """Approves a request.

        Raises:
            ConfigError: there is no such request, or this operator has asked for it.
        """

        def approved(content: bytes | None) -> bytes:
            request = _valid(content)
            if request is None:
                raise self._unknown(id_)
            if request.by == operator():
                raise ConfigError(f"request: {id_} was asked for by {request.by}; another operator must approve it")
            return json_bytes(asdict(replace(request, approved_by=operator())))

        if id_ not in {one.id for one in self.waiting()}:
            raise self._unknown(id_)
        with self._locked() as lock:
            request = ApprovalRequest.of_json(update_file(self.folder, f"{id_}.json", approved, lock)[1])
        record(self.releases, action="approve", request=str(request))
        return request

    def _unknown(self, id_: str) -> ConfigError:
        known = ", ".join(one.id for one in self.waiting()) or "none"
        return ConfigError(f"request: {id_!r} does not wait for an approval (there are: {known})")


def _required(policy: bytes | None) -> list[str]:
    return [] if policy is None else list(json.loads(policy)["require"])


def _valid(content: bytes | None) -> ApprovalRequest | None:
    """The request that a file has, if it still counts."""
    request = None if content is None else ApprovalRequest.of_json(content)
    return request if request is not None and request.is_valid else None

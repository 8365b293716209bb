"""Second approvals: where a storage asks for them, a promotion or a recall waits until another operator approves it.

The policy is a file beside the releases, so it holds for every operator. Whoever may write to the storage can get
around it: it guards against mistakes, and leaves a record.
"""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from data.artifacts.errors import ConfigError, UserError
from data.artifacts.folders import Folder, json_bytes
from data.artifacts.json_text import DamagedFile, json_text, parsed
from data.artifacts.leases import Lock
from data.artifacts.operators import operator
from data.artifacts.records.json_files import left_out
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
    def of_json(cls, content: bytes, place: str) -> "ApprovalRequest":
        """Reads a request from the content of the file at `place`; raises DamagedFile where it is none."""
        return parsed(content, place, cls._of_value, "a request for an approval", "remove it, and ask again")

    @classmethod
    def _of_value(cls, value: dict[str, Any]) -> "ApprovalRequest":
        request = cls(**known_fields(cls, value, {}))
        if datetime.fromisoformat(request.at).tzinfo is None:
            raise ValueError(f"at is {request.at!r}, which has no time zone")
        return request

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
        return self._required(self.folder.read_bytes(POLICY) if self.folder.exists(POLICY) else None)

    def _required(self, policy: bytes | None) -> list[str]:
        """What a policy's file asks for. A damaged one is never taken for one that asks for nothing.

        Raises:
            DamagedFile: it is no policy.
        """
        if policy is None:
            return []
        cure = 'write {"require": ["promote", "withdraw"]} into it, then python -m serve.approve require=[...]'
        return parsed(policy, f"{self.folder}/{POLICY}", _actions, "a policy of approvals", cure)

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
            if set(self._required(before)) - set(actions) and not is_approved:
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
            found = self._valid(content, id_)
            if content is not None and found is not None and found.approved_by is None:
                return content
            return json_bytes(asdict(ApprovalRequest(id_, action, what, operator(), datetime.now(UTC).isoformat())))

        # The approved request is replaced, not deleted: of two processes that read it, one alone can do so.
        before, after = update_file(self.folder, f"{id_}.json", asked_for, lock)
        used, request = self._valid(before, id_), ApprovalRequest.of_json(after, self._place(id_))
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
        files = ((self.folder.read_versioned(f"{id_}.json"), id_) for id_ in ids)
        found = (self._valid(file[0], id_) for file, id_ in files if file is not None)
        return sorted((request for request in found if request is not None), key=lambda request: request.at)

    def approve(self, id_: str) -> ApprovalRequest:
        """Approves a request.

        Raises:
            ConfigError: there is no such request, or this operator has asked for it.
        """

        def approved(content: bytes | None) -> bytes:
            request = self._valid(content, id_)
            if request is None:
                raise self._unknown(id_)
            if request.by == operator():
                raise ConfigError(f"request: {id_} was asked for by {request.by}; another operator must approve it")
            return json_bytes(asdict(replace(request, approved_by=operator())))

        if id_ not in {one.id for one in self.waiting()}:
            raise self._unknown(id_)
        with self._locked() as lock:
            content = update_file(self.folder, f"{id_}.json", approved, lock)[1]
        request = ApprovalRequest.of_json(content, self._place(id_))
        record(self.releases, action="approve", request=str(request))
        return request

    def _valid(self, content: bytes | None, id_: str) -> ApprovalRequest | None:
        """The request that a file has, if it still counts. A damaged one counts no more: it can be asked for again."""
        try:
            request = None if content is None else ApprovalRequest.of_json(content, self._place(id_))
        except DamagedFile as e:
            left_out(f"{e}")
            return None
        return request if request is not None and request.is_valid else None

    def _place(self, id_: str) -> str:
        return f"{self.folder}/{id_}.json"

    def _unknown(self, id_: str) -> ConfigError:
        known = ", ".join(one.id for one in self.waiting()) or "none"
        return ConfigError(f"request: {id_!r} does not wait for an approval (there are: {known})")


def _actions(value: Any) -> list[str]:
    found = value["require"]
    if not isinstance(found, list) or not set(found) <= set(ACTIONS):
        raise ValueError(f"require is {found!r}")
    return found

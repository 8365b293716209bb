"""Second approvals: where a storage asks for them, a promotion or a recall waits until another operator approves it.

The policy is a file beside the releases, so it holds for every operator. Whoever may write to the storage can get
around it: it guards against mistakes, and leaves a record.

Each file says itself what was done last, by whom and when, and under which name the history has that (`Stamp`). So the
history lacks nothing of a process that was killed before it could add it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from data.artifacts.errors import ConfigError, UserError
from data.artifacts.folders import Folder, json_bytes
from data.artifacts.json_text import DamagedFile, json_text, parsed
from data.artifacts.leases import Lock
from data.artifacts.operators import operator
from data.artifacts.records.json_files import left_out
from data.artifacts.records.updates import update_file
from serve.releases.audit.history import Stamp, is_recorded, record_stamped
from serve.releases.audit.requests import VALID_FOR, ApprovalRequest, stamp_of

APPROVALS = ".approvals"
"""Folder of the policy and of the requests below that of the releases."""

POLICY = "policy.json"

ACTIONS = ("promote", "withdraw")
"""What may need a second approval: giving a release traffic, and changing the denylist."""


class NeedsApproval(UserError):
    """Another operator must approve this first; nothing has changed."""


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
        """What a policy's file asks for; it raises what `_policy` raises."""
        return self._policy(policy)[0]

    def _policy(self, policy: bytes | None) -> tuple[list[str], Stamp | None]:
        """What a policy's file asks for, and who wrote it. A damaged one is never taken for one that asks for nothing.

        Raises:
            DamagedFile: it is no policy.
        """
        if policy is None:
            return [], None
        cure = 'write {"require": ["promote", "withdraw"]} into it, then python -m serve.approve require=[...]'
        return parsed(policy, f"{self.folder}/{POLICY}", _policy_of, "a policy of approvals", cure)

    def require(self, actions: list[str]) -> None:
        """Sets which actions need a second approval. To ask for fewer than before itself needs one.

        Raises:
            ConfigError: there is no such action.
            NeedsApproval: another operator must approve it first.
        """
        for action in actions:
            if action not in ACTIONS:
                raise ConfigError(f"require: {action!r} must be one of {', '.join(ACTIONS)}")
        policy = {"require": sorted(actions), "change": asdict(Stamp.now())}
        is_approved = False

        def changed(before: bytes | None) -> bytes:
            nonlocal is_approved
            if set(self._required(before)) - set(actions) and not is_approved:
                self._use("policy", {"require": sorted(actions)}, lock)
                is_approved = True
            self._record(*self._of_policy(before))
            return json_bytes(policy)

        with self._locked() as lock:
            self._record(*self._of_policy(update_file(self.folder, POLICY, changed, lock)[1]))

    def check(self, action: str, **what: Any) -> None:
        """Uses up the approval of an action, where the policy asks for one. 100 percent are the same as 100.0.

        Raises:
            NeedsApproval: nobody else has approved exactly this; a request for it then waits.
        """
        if action in self.required():
            plain = {name: int(of) if isinstance(of, float) and of.is_integer() else of for name, of in what.items()}
            with self._locked() as lock:
                self._use(action, plain, lock)

    def _locked(self) -> AbstractContextManager[Lock]:
        return self.folder.locked("approvals")

    def _use(self, action: str, what: dict[str, Any], lock: Lock) -> None:
        """Uses up the approval of a request, once among all processes; raises NeedsApproval where there is none."""
        id_ = hashlib.sha256(json_text([action, what], sort_keys=True).encode()).hexdigest()[:10]

        def asked_for(content: bytes | None) -> bytes:
            found = self._valid(content, id_)
            if content is not None and found is not None and found.approved_by is None:
                return content
            self._record(*self._of_request(content, id_))
            asked = ApprovalRequest(id_, action, what, operator(), datetime.now(UTC).isoformat())
            if found is not None:
                asked = replace(asked, used=found.approved_by, change=Stamp.now())
            return json_bytes(asdict(asked))

        # The approved request is replaced, not deleted: of two processes that read it, one alone can do so.
        before, after = update_file(self.folder, f"{id_}.json", asked_for, lock)
        used, request = self._valid(before, id_), ApprovalRequest.of_json(after, self._place(id_))
        if used is not None and used.approved_by is not None:
            self._record(*self._of_request(after, id_))
            lock.require()
            self.folder.delete_file(f"{id_}.json")
            return
        raise NeedsApproval(
            f"{request}: waits for a second operator, who runs python -m serve.approve request={id_} within"
            f" {VALID_FOR.total_seconds() / 3600:g} hours (asked for by {request.by}); then run this command again"
        )

    def waiting(self) -> list[ApprovalRequest]:
        """The requests that count, oldest first."""
        found = (self._valid(content, id_) for content, id_ in self._requests())
        return sorted((request for request in found if request is not None), key=lambda request: request.at)

    def missing(self) -> list[dict[str, Any]]:
        """What the history lacks, because the process that did it was killed."""
        done = [each for content, id_ in self._requests() for each in self._of_request(content, id_)]
        if (policy := self.folder.read_versioned(POLICY)) is not None:
            with suppress(DamagedFile):
                done += self._of_policy(policy[0])
        return [stamp.on(entry) for stamp, entry in done if not is_recorded(self.releases, stamp)]

    def _requests(self) -> Iterator[tuple[bytes, str]]:
        """The content of the file of each request, and the request's id."""
        ids = (name.removesuffix(".json") for name in self.folder.names() if name.endswith(".json") and name != POLICY)
        files = ((self.folder.read_versioned(f"{id_}.json"), id_) for id_ in ids)
        return ((file[0], id_) for file, id_ in files if file is not None)

    def _of_request(self, content: bytes | None, id_: str) -> list[tuple[Stamp, dict[str, Any]]]:
        """What was done last with a request, if that is an entry of the history."""
        request = self._read(content, id_)
        return [] if request is None or request.change is None else [(request.change, request.entry)]

    def _of_policy(self, content: bytes | None) -> list[tuple[Stamp, dict[str, Any]]]:
        required, change = self._policy(content)
        return [] if change is None else [(change, {"action": "policy", "require": required})]

    def _record(self, *done: tuple[Stamp, dict[str, Any]]) -> None:
        for stamp, entry in done:
            record_stamped(self.releases, stamp, entry)

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
            self._record(*self._of_request(content, id_))
            return json_bytes(asdict(replace(request, approved_by=operator(), change=Stamp.now())))

        if id_ not in {one.id for one in self.waiting()}:
            raise self._unknown(id_)
        with self._locked() as lock:
            content = update_file(self.folder, f"{id_}.json", approved, lock)[1]
            self._record(*self._of_request(content, id_))
        return ApprovalRequest.of_json(content, self._place(id_))

    def _valid(self, content: bytes | None, id_: str) -> ApprovalRequest | None:
        """The request that a file has, if it still counts."""
        request = self._read(content, id_)
        return request if request is not None and request.is_valid else None

    def _read(self, content: bytes | None, id_: str) -> ApprovalRequest | None:
        """The request that a file has. A damaged one counts no more: it can be asked for again."""
        try:
            return None if content is None else ApprovalRequest.of_json(content, self._place(id_))
        except DamagedFile as e:
            left_out(f"{e}")
            return None

    def _place(self, id_: str) -> str:
        return f"{self.folder}/{id_}.json"

    def _unknown(self, id_: str) -> ConfigError:
        known = ", ".join(one.id for one in self.waiting()) or "none"
        return ConfigError(f"request: {id_!r} does not wait for an approval (there are: {known})")


def _policy_of(value: Any) -> tuple[list[str], Stamp | None]:
    found = value["require"]
    if not isinstance(found, list) or not set(found) <= set(ACTIONS):
        raise ValueError(f"require is {found!r}")
    return found, stamp_of(value.get("change"))
